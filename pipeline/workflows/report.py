"""Comparisons as pages: one of everything, logged with the comparison's run, and the results in a repository."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from pipeline.errors import AnalysisError, RunsDamaged, StoreError
from pipeline.plain import escape_controls
from pipeline.private import name_file
from pipeline.report.figures.comparison import plot_loss_curves
from pipeline.report.figures.render import render_png
from pipeline.report.pages.html import render_report
from pipeline.report.pages.provenance import Sources
from pipeline.report.pages.results import Cost, Links, Results, write_results, write_summary
from pipeline.study import metrics
from pipeline.study.experiment import load_experiment
from pipeline.tracking.files.hashes import demand_unchanged
from pipeline.tracking.provenance import read_provenance, record_report
from pipeline.tracking.runs import read_history
from pipeline.workflows.compare import Found, find_comparison

SHOWN = frozenset({"truth", "published"})
PICTURE, REPORT = Path("images/losses.png"), Path("report.html")
"""The picture and the report of a page of results, beside the page."""
BLOCK = re.compile(r"(<!-- results -->\n).*?(<!-- end of results -->)", re.DOTALL)
ACCURACIES = (metrics.TRAIN_ACCURACY, metrics.TEST_ACCURACY)


@dataclass(frozen=True, kw_only=True)
class WrittenReport:
    """The file of a report, and the run that it was logged with."""

    path: Path
    run_id: str


def write_report(
    found: Found, experiment: str, path: Path, print_pdf: Callable[[str], bytes] | None = None
) -> WrittenReport:
    """Write the report of a comparison to `path`, as HTML unless `print_pdf` (report.pdf) is given, and log it."""
    page = _make_page(found, experiment, datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))
    with name_file(path):
        path.write_bytes(print_pdf(page) if print_pdf else page.encode())
    run_id, _ = found.record()
    record_report(found.store, run_id, page)
    return WrittenReport(path=path, run_id=run_id)


def _make_page(found: Found, experiment: str, written: str) -> str:
    """The report of a comparison whose runs are checked first; the page says when it was `written`, if at all."""
    store, runs = found.store, found.comparison.runs
    demand_unchanged(store, found.experiment_id, runs["run_id"])
    accuracies = read_history(store, list(runs["run_id"]), ACCURACIES)
    pictured = set(runs.sort_values("seed").drop_duplicates("variant")["run_id"])  # the lowest seed with its violins
    name = escape_controls(store.client.get_experiment(found.experiment_id).name)
    sources = Sources(
        experiment=name,
        runs=read_provenance(store, found.experiment_id, runs, pictured),
        again=experiment or name,
        description=found.description,
        frozen_at=found.frozen_at,
        link=found.link if store.uri.startswith("http") else "",
    )
    return render_report(found.comparison, accuracies, sources, written)


def publish_results(table: str, claims: str, output: Path, readme: Path | None) -> list[Path]:
    """Write a page of results with its picture, the report of judged claims, the README's block; returns the files.

    `table` and `claims` are experiments' files; the claims may have no run yet. Raises AnalysisError for a README
    without the marks.
    """
    found = find_comparison(table, "newest", {}, SHOWN)
    fourteen = found.comparison
    judged, cost = _find_claims(claims)
    results = Results(
        fourteen=fourteen,
        cost=_measure_cost(table, found),
        twins=judged.comparison if judged else None,
        twins_cost=cost,
        description=judged.description if judged else "",
    )
    picture, report = output.parent / PICTURE, output.parent / REPORT
    files = {output: write_results(results, Links(picture=PICTURE.as_posix(), report=REPORT.as_posix())).encode()}
    files[picture] = render_png(plot_loss_curves(fourteen.history, fourteen.runs, source="honest"))
    if judged:
        page = _make_page(judged, claims, "")
        files[report] = _name_by_origin(page, judged.comparison.runs).encode()
    if readme:
        near = [Path(os.path.relpath(path, readme.parent)).as_posix() for path in (picture, report, output)]
        links = Links(picture=near[0], report=near[1], results=near[2])
        files[readme] = _replace_block(readme, write_summary(results, links)).encode()
    for path, content in files.items():
        with name_file(path):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
    return list(files)


def _name_by_origin(page: str, runs: pd.DataFrame) -> str:
    """The page with the ids that imported runs had where they were trained: each import gives them new ones.

    A tag of another form stays out: the page is HTML, and a store can be edited.
    """
    imported = runs[runs["origin"].str.fullmatch("[0-9a-f]{32}")]
    for run_id, origin in zip(imported["run_id"], imported["origin"], strict=True):
        page = page.replace(run_id, origin)
    return page


def _replace_block(path: Path, summary: str) -> str:
    """The text of a file with the summary between its marks."""
    text = path.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        raise AnalysisError(f"{path} has no line <!-- results --> with <!-- end of results --> below it; add both")
    return BLOCK.sub(lambda found: f"{found[1]}{summary.strip()}\n{found[2]}", text)


def _find_claims(claims: str) -> tuple[Found | None, Cost]:
    """The comparison of the claims' experiment, None where nothing can be judged, and what its runs took."""
    try:
        found = find_comparison(claims)
    except RunsDamaged:
        raise
    except (AnalysisError, StoreError):  # no such experiment yet, or no finished run
        return None, _measure_cost(claims)
    verdicts = found.comparison.verdicts
    due = all(verdict.look.number or not verdict.look.total for verdict in verdicts)
    reached = due and any(verdict.run_ids for verdict in verdicts)
    return found if reached else None, _measure_cost(claims, found)


def _measure_cost(path: str, found: Found | None = None) -> Cost:
    """What the runs of an experiment's file took, as a comparison found them; None of them without one."""
    experiment = load_experiment(path)
    declared = len(experiment.variants) * len(experiment.seeds)
    if found is None:
        return Cost(experiment=experiment.name, declared=declared)
    runs = found.comparison.runs
    epochs = read_history(found.store, list(runs["run_id"]), (metrics.EPOCH_SECONDS,))
    fastest = epochs.merge(runs[["run_id", "variant"]], on="run_id").groupby("variant")["value"].min()
    sources = read_provenance(found.store, found.experiment_id, runs, ())
    return Cost(
        experiment=experiment.name,
        runs=len(runs),
        declared=declared,
        hours=float(epochs["value"].sum()) / 3600,
        restarts=sum(source.attempts - 1 for source in sources),
        machines=Counter(str(source.environment.get("cpu", "")) for source in sources),
        fastest={str(variant): float(least) for variant, least in fastest.items()},
    )
