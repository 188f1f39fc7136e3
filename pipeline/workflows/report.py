"""A comparison as one page, logged with the comparison's run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.plain import escape_controls
from pipeline.private import name_file
from pipeline.report.pages.html import render_report
from pipeline.report.pages.provenance import Sources
from pipeline.study import metrics
from pipeline.study.experiment import open_experiment
from pipeline.tracking.files.hashes import demand_unchanged
from pipeline.tracking.provenance import read_provenance, record_report
from pipeline.tracking.runs import read_history
from pipeline.workflows.compare import Found

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
    demand_unchanged(found.store, found.experiment_id, found.comparison.runs["run_id"])
    accuracies = read_history(found.store, list(found.comparison.runs["run_id"]), ACCURACIES)
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    page = render_report(found.comparison, accuracies, read_sources(found, experiment), written)
    with name_file(path):
        path.write_bytes(print_pdf(page) if print_pdf else page.encode())
    run_id = found.record().run_id
    record_report(found.store, run_id, page)
    return WrittenReport(path=path, run_id=run_id)


def read_sources(found: Found, experiment: str) -> Sources:
    """Where the runs of the comparison come from; the lowest seed of each variant with its violins."""
    runs = found.comparison.runs
    pictured = set(runs.sort_values("seed").drop_duplicates("variant")["run_id"])
    declared = open_experiment(experiment)
    name = escape_controls(found.store.client.get_experiment(found.experiment_id).name)
    return Sources(
        experiment=name,
        runs=read_provenance(found.store, found.experiment_id, runs, pictured),
        again=experiment or name,
        description=declared.description if declared else "",
        frozen_at=found.frozen_at,
        link=found.link if found.store.uri.startswith("http") else "",
    )
