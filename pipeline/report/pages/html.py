"""The report: one HTML file that needs no network and loads nothing, with verdicts first and where each number is from;
also as PDF, by a library that is asked for only when it is needed.

Everything that comes from the store or from a file is escaped by the template; the page's policy lets no script or
style run but its own two, known by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import io
import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

import pandas as pd
from markupsafe import Markup

from pipeline.analysis.comparison import Comparison
from pipeline.analysis.table.conclusion import Conclusion, list_records
from pipeline.analysis.table.entries import Entry
from pipeline.errors import PipelineError
from pipeline.report.figures.illustrations import (
    draw_curves,
    draw_interval,
    draw_specifications,
    draw_spreads,
    draw_violins,
)
from pipeline.report.pages.checklist import YES, answer_checklist, check_claims
from pipeline.report.pages.conclusion import say_remarks
from pipeline.report.pages.provenance import Sources, describe_surroundings
from pipeline.report.pages.table import (
    LIKE_BEST,
    MOST_LISTED,
    TEMPLATES,
    fill_link,
    format_entry,
    group_left_out,
    list_words,
    open_templates,
    tabulate,
    write_caption,
)
from pipeline.report.text.lessons import say_specifications
from pipeline.report.text.note import write_command
from pipeline.report.text.numbers import SYMBOLS, count_verdicts
from pipeline.report.text.sentences import say_finding, say_verdict
from pipeline.report.text.summary import VARIANTS, list_numbers, list_variants, say_units
from pipeline.study import metrics
from pipeline.study.tags import ORIGIN

POLICY = "default-src 'none'; img-src data:; style-src '{css}'; script-src '{js}'; base-uri 'none'; form-action 'none'"
PLACE = "file:///report.html"  # where links within a PDF are resolved; nothing is read from there


def render_report(comparison: Comparison, accuracies: pd.DataFrame, sources: Sources, written: str) -> str:
    """The page. `accuracies` are train and test accuracy by epoch (run_id, metric, epoch, value); `written` says when.

    The same runs give the same page but for the line with `written`. Raises AnalysisError if a run has an epoch twice.
    """
    environment = open_templates(autoescape=True)
    environment.filters.update(
        raw=_write_raw, say=say_verdict, write=_write_entry, bounds=_write_bounds, breakable=_allow_breaks
    )
    css, js = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    return environment.get_template("report.html").render(
        policy=POLICY.format(css=_hash_piece(css), js=_hash_piece(js)),
        css=Markup(css),
        js=Markup(js),
        written=written,
        origin=ORIGIN,
        sources=sources,
        **_judge(comparison, sources),
        **(tables := _tabulate(comparison)),
        **_trace(sources, tables["shown"]),
        robustness=list(draw_specifications(comparison)),
        curves=[*draw_curves(comparison, accuracies), *draw_spreads(comparison)],
        violins=draw_violins(sources.runs),
    )


def _judge(comparison: Comparison, sources: Sources) -> dict[str, Any]:
    """What the page says of the claims, and the checklist."""
    word, reason = check_claims(comparison, sources)
    verdicts = sorted(comparison.verdicts, key=lambda verdict: not verdict.parts)  # headlines stand on other claims
    return {
        "caveat": "" if word == YES or not verdicts else reason,
        "counts": count_verdicts(verdicts),
        "found": say_finding(verdicts),
        "findings": [(verdict, list(list_numbers(verdict)), draw_interval(verdict)) for verdict in verdicts],
        "symbols": SYMBOLS,
        "remarks": [line for line in say_remarks(comparison) if line not in say_specifications(comparison)],
        "checklist": answer_checklist(comparison, sources),
    }


def _tabulate(comparison: Comparison) -> dict[str, Any]:
    """What the page's tables of numbers are made of."""
    conclusion, runs = comparison.conclusion, comparison.runs
    seeds = sorted({int(seed) for seed in runs["seed"]})
    shown = seeds[: max(1, MOST_LISTED // runs["variant"].nunique())]
    records, frame = list(list_records(runs[runs["seed"].isin(shown)])), tabulate(conclusion)
    results, by_variant = list_variants(comparison), runs.groupby("variant")
    rows = {name: own for name, own in conclusion.rows.items() if any(entry.run_ids for entry in own.values())}
    return {
        "conclusion": conclusion,
        "caption": write_caption(conclusion),
        "heads": VARIANTS,
        "results": results,
        "listed": {name for name, *_ in results},
        "units": say_units(comparison),
        "parameters": by_variant["parameters"].first().to_dict(),
        "missing": [] if comparison.question.variants else comparison.missing,  # the table has a row for each declared
        "rows": rows,
        "frame": frame,
        "columns": order_columns(conclusion, frame),
        "like_best": LIKE_BEST,
        "format_value": metrics.format_value,
        "labels": list_words(conclusion),
        "left_out": group_left_out(conclusion),
        "finals": [metric for metric in metrics.FINALS if metric.reported and metric in runs],
        "seeds": seeds,
        "shown": shown,
        "most": MOST_LISTED,
        "accuracies": {(run["variant"], run["seed"]): run[metrics.TEST_ACCURACY.final] for run in records},
        "run_ids": by_variant["run_id"].agg(list).to_dict(),
        "by_variant": [(name, list(found)) for name, found in groupby(records, itemgetter("variant"))],
        "networks": [comparison.question.table[name] for name in dict.fromkeys(runs["variant"])],
    }


def _trace(sources: Sources, shown: Sequence[int]) -> dict[str, Any]:
    """Where the runs come from, and how each with one of these seeds is made again."""
    listed = [run for run in sources.runs if run.settings.seed in shown]
    return {
        "surroundings": describe_surroundings(sources.runs),
        "commands": [(run, write_command(run.variant, run.settings, sources.again)) for run in listed],
        "commits": list(dict.fromkeys(run.commit for run in sources.runs if run.commit)),
        "address": partial(fill_link, sources.link),
    }


def order_columns(conclusion: Conclusion, frame: pd.DataFrame) -> list[str]:
    """What was measured first, then how many runs that is, then what the network is; intervals stand in their cells."""
    places = {"measured": 0, "label": 2}
    kinds = {name: entry.kind for entries in conclusion.rows.values() for name, entry in entries.items()}
    shown = [name for name in frame.columns if not name.endswith(" 95 % CI")]
    return sorted(shown, key=lambda name: places.get(kinds.get(name, ""), 1))


def _write_raw(entry: Entry | float | int | None) -> str:
    """A number as it is kept, to sort by and to check against the result file; empty where there is none."""
    value = entry.value if isinstance(entry, Entry) else entry
    return "" if value is None or value != value else repr(value) if isinstance(value, float) else str(value)


def _write_entry(entry: Entry) -> str:
    """A number of the table as people read it."""
    measured = entry.kind == "measured" and isinstance(entry.value, float)
    return metrics.format_value(entry.source, float(entry.value or 0)) if measured else format_entry(entry)


def _write_bounds(entry: Entry) -> str:
    """The interval below a number, with one unit."""
    low, high = (metrics.format_value(entry.source, bound) for bound in (entry.low, entry.high))
    return f"{low.removesuffix(' %')} to {high}"


def _allow_breaks(head: str) -> Markup:
    """A column's name that may be broken where its parts meet: TRAIN_LOSS, BatchNormalization, #Kernels/Filters."""
    return Markup("<wbr>").join(re.split(r"(?<=[_/])|(?<=[a-z])(?=[A-Z])", head))


def _hash_piece(text: str) -> str:
    """How a policy names the one script or style that it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def load_printer() -> Callable[[str], bytes]:
    """What turns a page of HTML into a PDF; raises PipelineError where the library is not installed."""
    try:
        plutoprint = importlib.import_module("plutoprint")
    except ImportError as error:
        raise PipelineError("PDF output needs an extra package: pip install 'mnist-study-pipeline[pdf]'") from error

    def print_page(page: str) -> bytes:
        book = plutoprint.Book(plutoprint.PAGE_SIZE_A4, media=plutoprint.MEDIA_TYPE_PRINT)
        book.load_html(page.replace("<details", "<details open"), base_url=PLACE)  # nothing is folded on paper
        stream = io.BytesIO()
        book.write_to_pdf_stream(stream)
        return stream.getvalue()

    return print_page
