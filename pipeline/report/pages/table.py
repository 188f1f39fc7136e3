"""The conclusion table as text: CSV, Markdown, LaTeX, HTML, JSON, and for the terminal. Numbers are formatted here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.analysis.statistics import find_ties, tabulate_errors
from pipeline.analysis.table.conclusion import Conclusion, dump_conclusion, list_records
from pipeline.analysis.table.entries import Entry
from pipeline.errors import AnalysisError
from pipeline.report.text.escape import escape_latex, escape_markdown
from pipeline.study.variants import published_variants

NO_RUN = "(no run)"
NO_VALUE = "-"
LIKE_BEST = "cannot be told from the best"
MOST_LISTED = 2000
"""A page lists no more runs than about these one by one; its numbers and figures are of all of them."""
TEMPLATES = Path(__file__).with_name("templates")


def render_table(conclusion: Conclusion, form: str, link: str | None = None) -> str:
    """`conclusion` as text, csv, markdown, latex, html or json.

    `link` is a pattern for a run's address (`http://localhost:5000/#/runs/{run_id}`) that may use run_id, run_name,
    experiment, variant and seed; HTML links each number to its runs with it.
    Raises AnalysisError for another form or another name in the pattern.
    """
    if form not in FORMS:
        raise AnalysisError(f'"{form}" is not a table format; choose one of {", ".join(FORMS)}')
    if form == "html":
        return render_html(conclusion, link)
    return FORMS[form](conclusion)


def tabulate(conclusion: Conclusion) -> pd.DataFrame:
    """The table as texts, one row a variant: its columns, then n and the intervals where seeds were averaged."""
    rows = {row.variant: list(map(format_entry, row.entries.values())) for row in conclusion.rows}
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=list(conclusion.columns), dtype=str)
    if conclusion.rule == "all-seeds":
        frame["n"] = [str(len(row.entries["TEST_LOSS"].run_ids)) for row in conclusion.rows]
        for column in conclusion.columns:
            if conclusion.rows[0].entries[column].kind == "measured":
                frame[f"{column} 95 % CI"] = [_format_interval(row.entries[column]) for row in conclusion.rows]
        if told := _tell_from_best(conclusion):
            frame[LIKE_BEST] = told
    return frame


def _tell_from_best(conclusion: Conclusion) -> list[str]:
    """Of each row whether its test error can be told from the lowest: Holm over all pairs of paired t tests.

    Empty below three complete seeds.
    """
    errors = tabulate_errors(conclusion.runs)
    if errors is None:
        return []
    words = dict.fromkeys(errors.columns, "no") | dict.fromkeys(find_ties(errors), "yes")
    return [words.get(row.variant, NO_VALUE) for row in conclusion.rows]


def name_rows(conclusion: Conclusion) -> pd.DataFrame:
    """`tabulate`, led by the variant where other than published rows are shown: labels do not tell them apart."""
    frame = tabulate(conclusion)
    if {row.variant for row in conclusion.rows} - {variant.name for variant in published_variants()}:
        frame.insert(0, "variant", frame.index)
    return frame


def format_entry(entry: Entry) -> str:
    """One entry as text; NO_RUN where a run is missing, NO_VALUE where there is nothing to know."""
    if entry.value is None:
        return NO_RUN if entry.kind == "measured" else NO_VALUE
    if not isinstance(entry.value, float):
        return str(entry.value)
    return f"{entry.value:+.5f}" if entry.kind == "difference" else f"{entry.value:.5f}"


def write_caption(conclusion: Conclusion) -> str:
    """What the numbers are of: data, settings, rule and number of runs, in two sentences."""
    shared = conclusion.settings
    images = f"{shared.subset:,} training images (a subset)" if shared.subset else "all training images"
    experiments = ", ".join(sorted(set(conclusion.runs["experiment"])))
    return (
        f"Conclusion of {experiments}: last of {shared.epochs} epochs, batch size {shared.batch_size}, "
        f"{shared.normalization} normalisation, {shared.arithmetic}, {images}, data sha256 {shared.data_sha256[:12]}. "
        f"{len(conclusion.runs)} runs of {conclusion.runs['variant'].nunique()} variants; "
        f"{conclusion.query.partition('; ')[2]}."
    )


def render_csv(conclusion: Conclusion) -> str:
    """Header and one line a variant, the texts of `name_rows`."""
    return name_rows(conclusion).to_csv(index=False, lineterminator="\n")


def render_markdown(conclusion: Conclusion) -> str:
    """A pipe table with caption, missing variants, runs left out and hash; each row is led by its variant."""
    frame = tabulate(conclusion).reset_index(names="variant")
    return _fill("conclusion.md", conclusion, {"finalize": escape_markdown}, frame=frame)


def render_latex(conclusion: Conclusion) -> str:
    """A table float that needs the packages booktabs and graphicx, its evidence in comments."""
    return _fill("conclusion.tex", conclusion, {"finalize": escape_latex}, frame=name_rows(conclusion))


def render_html(conclusion: Conclusion, link: str | None = None) -> str:
    """A page of its own, with nothing to load; numbers link to their runs where `link` is given."""
    of_each = max(1, MOST_LISTED // conclusion.runs["variant"].nunique())
    listed = conclusion.runs.groupby("variant", sort=False).head(of_each)
    runs = [run | {"href": _fill_link(link, run)} for run in list_records(listed)]
    hrefs = {run["run_id"]: run["href"] for run in runs}
    anchors = {
        (row.variant, column): hrefs[entry.run_ids[0]] if len(entry.run_ids) == 1 else f"#runs-{row.variant}"
        for row in conclusion.rows
        for column, entry in row.entries.items()
        if link and entry.run_ids
    }
    cut = of_each if len(listed) < len(conclusion.runs) else 0
    more = {"runs": runs, "cut": cut, "anchors": anchors, "frame": tabulate(conclusion)}
    return _fill("conclusion.html", conclusion, {"autoescape": True}, **more)


def render_text(conclusion: Conclusion) -> str:
    """Aligned columns for the terminal, each row led by its variant."""
    return f"{write_caption(conclusion)}\n\n{tabulate(conclusion).to_string()}\n"


FORMS: Mapping[str, Callable[[Conclusion], str]] = {
    "text": render_text,
    "csv": render_csv,
    "markdown": render_markdown,
    "latex": render_latex,
    "html": render_html,
    "json": dump_conclusion,
}


def _fill(name: str, conclusion: Conclusion, escaping: Mapping[str, Any], **more: Any) -> str:
    """A template filled with the conclusion and more values, all of them escaped."""
    environment = open_templates(keep_trailing_newline=True, **escaping)
    return environment.get_template(name).render(
        conclusion=conclusion,
        caption=write_caption(conclusion),
        texts={"variant", *list_words(conclusion)},
        left_out=group_left_out(conclusion),
        **more,
    )


def open_templates(**settings: Any) -> Environment:
    """The templates of this room."""
    loader = FileSystemLoader(TEMPLATES)
    return Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **settings)


def group_left_out(conclusion: Conclusion) -> dict[str, list[str]]:
    """The runs that were left out, by their reason."""
    reasons = conclusion.left_out.groupby("reason", sort=False)["run_id"]
    return {str(reason): list(run_ids) for reason, run_ids in reasons}


def list_words(conclusion: Conclusion) -> set[str]:
    """The columns of words, which stand left; all others hold numbers, which stand right."""
    return {
        name for row in conclusion.rows for name, entry in row.entries.items() if isinstance(entry.value, str | bool)
    }


def _format_interval(entry: Entry) -> str:
    return NO_VALUE if entry.low is None else f"{entry.low:.5f} to {entry.high:.5f}"


def _fill_link(link: str | None, run: Mapping[str, object]) -> str | None:
    """The address of a run, each name in the pattern replaced by the run's own, quoted for an address."""
    if link is None:
        return None
    names = ("run_id", "run_name", "experiment", "variant", "seed")
    try:
        return link.format_map({name: quote(str(run[name]), safe="") for name in names})
    except (KeyError, ValueError, IndexError) as error:
        raise AnalysisError(
            f'the link pattern "{link}" cannot be filled; it may use {{{"}, {".join(names)}}}'
        ) from error
