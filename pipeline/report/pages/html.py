"""The report: one HTML file that needs no network and loads nothing, with verdicts first and where each number is from.

Everything that comes from the store or from a file is escaped by the template; the page's policy lets no script or
style run but its own two, known by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any
from urllib.parse import quote

import pandas as pd
from markupsafe import Markup

from pipeline.analysis.claims.verdict import Verdict
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.table.conclusion import list_records
from pipeline.analysis.table.entries import Entry
from pipeline.report.figures.illustrations import (
    draw_curves,
    draw_intervals,
    draw_specifications,
    draw_spreads,
    draw_violins,
)
from pipeline.report.pages.provenance import Sources, describe_surroundings
from pipeline.report.pages.table import (
    TEMPLATES,
    format_entry,
    group_left_out,
    list_words,
    open_templates,
    tabulate,
    write_caption,
)
from pipeline.report.text.checklist import YES, answer_checklist, check_claims
from pipeline.report.text.conclusion import say_remarks
from pipeline.report.text.numbers import format_effect, format_p, say_unit
from pipeline.report.text.sentences import say_look, say_twins, say_verdict
from pipeline.study import metrics
from pipeline.study.facts import Provenance, format_options

SYMBOLS = {
    "SUPPORTED": "✔",
    "REFUTED": "✘",
    "NEGLIGIBLE": "≈",
    "INCONCLUSIVE": "?",
    "UNTESTABLE": "∅",
    "DEVIATED": "≠",
}
POLICY = "default-src 'none'; img-src data:; style-src '{css}'; script-src '{js}'; base-uri 'none'; form-action 'none'"
DASH = "-"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One claim as the page shows it: texts, with DASH for a number that is not there."""

    verdict: Verdict
    symbol: str
    numbers: tuple[tuple[str, str], ...]


def render_report(comparison: Comparison, accuracies: pd.DataFrame, sources: Sources, written: str) -> str:
    """The page. `accuracies` are train and test accuracy by epoch (run_id, metric, epoch, value); `written` says when.

    The same runs give the same page but for the line with `written`. Raises AnalysisError where nothing can be drawn.
    """
    environment = open_templates(autoescape=True)
    environment.filters["raw"] = _write_raw
    environment.filters["say"] = say_verdict
    css, js = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    return environment.get_template("report.html").render(
        policy=POLICY.format(css=_hash_piece(css), js=_hash_piece(js)),
        css=Markup(css),
        js=Markup(js),
        written=written,
        comparison=comparison,
        sources=sources,
        **_judge(comparison, sources),
        **_tabulate(comparison),
        **_trace(sources),
        intervals=[*draw_intervals(comparison.verdicts), *draw_specifications(comparison)],
        curves=[*draw_curves(comparison, accuracies), *draw_spreads(comparison)],
        violins=draw_violins(sources.runs),
    )


def _judge(comparison: Comparison, sources: Sources) -> dict[str, Any]:
    """What the page says of the claims, and the checklist."""
    word, reason = check_claims(comparison, sources)
    return {
        "caveat": "" if word == YES or not comparison.verdicts else reason,
        "findings": [_describe_finding(verdict) for verdict in order_verdicts(comparison.verdicts)],
        "remarks": say_remarks(comparison),
        "checklist": answer_checklist(comparison, sources),
    }


def _tabulate(comparison: Comparison) -> dict[str, Any]:
    """What the page's tables of numbers are made of."""
    conclusion, runs = comparison.conclusion, comparison.runs
    records = list_records(runs)
    return {
        "conclusion": conclusion,
        "caption": write_caption(conclusion),
        "frame": tabulate(conclusion),
        "format_entry": format_entry,
        "labels": list_words(conclusion),
        "left_out": group_left_out(conclusion),
        "finals": [metric for metric in metrics.FINALS if metric.reported and metric in runs],
        "seeds": sorted({int(seed) for seed in runs["seed"]}),
        "accuracies": {(run["variant"], run["seed"]): run[metrics.TEST_ACCURACY.final] for run in records},
        "by_variant": [(name, list(own)) for name, own in groupby(records, itemgetter("variant"))],
        "networks": [comparison.question.table[name] for name in dict.fromkeys(runs["variant"])],
    }


def _trace(sources: Sources) -> dict[str, Any]:
    """Where the runs come from and how each is made again."""
    return {
        "surroundings": describe_surroundings(sources.runs),
        "commands": {run.run_id: write_command(run, sources.again) for run in sources.runs},
        "again": sources.again,
        "commits": list(dict.fromkeys(run.commit for run in sources.runs if run.commit)),
        "address": lambda run_id: sources.link.replace("{run_id}", quote(run_id, safe="")),
    }


def order_verdicts(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The headlines, which stand on other claims, first; else as declared."""
    return sorted(verdicts, key=lambda verdict: not verdict.parts)


def write_command(run: Provenance, file: str) -> str:
    """The command that trains the run's cell again; a user's own variant is in the experiment's `file`."""
    return f"mlflow run . --env-manager local {format_options(run.variant, run.settings, file)}"


def _describe_finding(verdict: Verdict) -> Finding:
    """The claim's numbers, named and formatted."""
    numbers = [("n", f"{verdict.n_seeds} seeds, {len(verdict.run_ids)} runs")]
    if verdict.by_twin:
        numbers.append(("by twin", say_twins(verdict)))
    if look := say_look(verdict.look):
        numbers.append(("look", look))
    if verdict.is_open and verdict.seeds_needed is not None:
        numbers.append(("seeds needed", f"about {verdict.seeds_needed}"))
    if not verdict.parts:
        numbers[:0] = _list_numbers(verdict)
    return Finding(verdict=verdict, symbol=SYMBOLS[verdict.verdict], numbers=tuple(numbers))


def _list_numbers(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """Effect, interval, margin and p of a claim that stands by itself."""
    if not verdict.n_seeds:
        yield from (("effect", DASH), ("interval", DASH))
        return
    yield "effect", f"{format_effect(verdict.effect, verdict)} {say_unit(verdict)}"
    if verdict.n_seeds > 1:
        low, high = (format_effect(bound, verdict) for bound in verdict.interval_95)
        yield "95 % interval", f"{low} to {high}"
        yield "judged at alpha", f"{1 - verdict.level:.3g}"
    margin = format_effect(verdict.claim.smallest_effect, verdict).removeprefix("+")
    name = "margin" if verdict.claim.direction == "not_higher" else "smallest effect of interest"
    yield name, f"{margin} {say_unit(verdict).replace('%', 'points')}"
    if verdict.claim.reference:
        yield "held against", f"{format_effect(verdict.claim.reference, verdict)} {say_unit(verdict)}"
    if verdict.p_adjusted == verdict.p_adjusted:
        yield "adjusted p", format_p(verdict.p_adjusted).removeprefix("= ")


def _write_raw(entry: Entry | float | int | None) -> str:
    """A number as it is kept, to sort by and to check against the result file; empty where there is none."""
    value = entry.value if isinstance(entry, Entry) else entry
    return "" if value is None or value != value else repr(value) if isinstance(value, float) else str(value)


def _hash_piece(text: str) -> str:
    """How a policy names the one script or style that it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
