"""The conclusion table as text: CSV, Markdown, LaTeX, HTML, JSON, and for the terminal. Numbers are formatted here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.analysis.statistics import find_ties, tabulate_errors
from pipeline.analysis.table.conclusion import Conclusion, dump_conclusion, list_records
from pipeline.analysis.table.entries import Entry
from pipeline.report.text.escape import escape_latex, escape_markdown
from pipeline.study.variants import published_variants

NO_RUN = "(no run)"
NO_VALUE = "-"
LIKE_BEST = "cannot be told apart from the best"
MOST_LISTED = 2000
"""A page lists no more runs than about these one by one; its numbers and figures are of all of them."""
TEMPLATES = Path(__file__).with_name("templates")


def render_table(conclusion: Conclusion, form: str, link: str = "") -> str:
    """`conclusion` as text, csv, markdown, latex, html or json; HTML links numbers to their runs (see fill_link)."""
    return render_html(conclusion, link) if form == "html" else FORMS[form](conclusion)


def tabulate(conclusion: Conclusion) -> pd.DataFrame:
    """The table as texts, one row a variant: its columns, then n and the intervals where seeds were averaged."""
    rows = {variant: list(map(format_entry, entries.values())) for variant, entries in conclusion.rows.items()}
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=list(conclusion.columns), dtype=str)
    if conclusion.rule == "all-seeds":
        frame["n"] = [str(len(entries["TEST_LOSS"].run_ids)) for entries in conclusion.rows.values()]
        for column in conclusion.columns:
            own = [entries[column] for entries in conclusion.rows.values()]
            if own[0].kind == "measured":
                frame[f"{column} 95 % CI"] = list(map(_format_interval, own))
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
    return [words.get(variant, NO_VALUE) for variant in conclusion.rows]


def name_rows(conclusion: Conclusion) -> pd.DataFrame:
    """`tabulate`, led by the variant where other than published rows are shown: labels do not tell them apart."""
    frame = tabulate(conclusion)
    if conclusion.rows.keys() - {variant.name for variant in published_variants()}:
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


def render_html(conclusion: Conclusion, link: str = "") -> str:
    """A page of its own, with nothing to load; numbers link to their runs where `link` is given."""
    of_each = max(1, MOST_LISTED // conclusion.runs["variant"].nunique())
    listed = conclusion.runs.groupby("variant", sort=False).head(of_each)
    address = partial(fill_link, link)
    anchors = {
        (variant, column): address(entry.run_ids[0]) if len(entry.run_ids) == 1 else f"#runs-{variant}"
        for variant, entries in conclusion.rows.items()
        for column, entry in entries.items()
        if link and entry.run_ids
    }
    cut = of_each if len(listed) < len(conclusion.runs) else 0
    more = {"runs": list_records(listed), "cut": cut, "anchors": anchors, "address": address}
    return _fill("conclusion.html", conclusion, {"autoescape": True}, frame=tabulate(conclusion), **more)


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
    rows = conclusion.rows.values()
    return {name for entries in rows for name, entry in entries.items() if isinstance(entry.value, str | bool)}


def _format_interval(entry: Entry) -> str:
    return NO_VALUE if entry.low is None else f"{entry.low:.5f} to {entry.high:.5f}"


def fill_link(link: str, run_id: str) -> str:
    """The address of a run by their pattern, as http://localhost:5000/#/runs/{run_id}; "" by none."""
    return link.replace("{run_id}", quote(run_id, safe=""))
