"""The Python API: what the command line does, for a notebook or a script, with results instead of lines.

    from pipeline import compare, report, sweep, train

    run = train("conv2_3x3", epochs=3)
    run.finals["final/test_accuracy"]

Settings have the names of study.settings. Errors are those of pipeline.errors: one line that says what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ResumeError
from pipeline.study.settings import make_settings
from pipeline.study.variants import find_variant

if TYPE_CHECKING:  # importing them here would import MLflow, Dask and matplotlib with the package
    import pandas as pd
    from matplotlib.figure import Figure

    from pipeline.analysis.claims.verdict import Verdict
    from pipeline.sweep.execute import CellReport
    from pipeline.workflows.compare import Found
    from pipeline.workflows.report import WrittenReport
    from pipeline.workflows.train import TrainedRun


@dataclass(frozen=True, kw_only=True)
class Swept:
    """A sweep that has ended: how many cells the experiment has, and the reports of those that were trained now."""

    cells: int
    reports: tuple[CellReport, ...]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A comparison: `table` has a row a variant, `runs` one a variant and seed; `run_id` is its own run in MLflow.

    `sentences` says each verdict in words, by the name of its claim.
    """

    table: pd.DataFrame
    runs: pd.DataFrame
    verdicts: tuple[Verdict, ...]
    sentences: Mapping[str, str]
    run_id: str
    found: Found

    def draw(self) -> dict[str, Figure]:
        """Every figure that the runs can fill, by name."""
        from pipeline.workflows.compare import draw_comparison

        return dict(draw_comparison(self.found.comparison))


def train(
    arch: str = "",
    *,
    variants: str | Path = "",
    resume: str = "",
    on_epoch: Callable[[int, Mapping[str, float]], object] | None = None,
    **settings: Any,
) -> TrainedRun:
    """Train one variant (conv2_3x3 if none is named) and log everything to MLflow, or go on with the run `resume`.

    `variants` is a TOML file with [[variant]] tables of your own; `settings` are fields of study.settings.Settings, as
    epochs=3; `on_epoch` is called with the number and the metrics of each finished epoch.

    Raises:
        PipelineError: an unknown variant or setting, data or a store that cannot be used, a training that cannot go on.
    """
    from pipeline.study.experiment import load_variants
    from pipeline.tracking.store import open_store
    from pipeline.tracking.write.resume import find_resumable
    from pipeline.workflows.train import RunProgress, resume_training, train_variant

    class Progress(RunProgress):
        def end_epoch(self, epoch: int, metrics: dict[str, float], ended: int) -> None:
            """Tell the caller."""
            del ended
            if on_epoch:
                on_epoch(epoch, metrics)

    if resume:
        if arch or variants or settings:
            raise ResumeError(f"run {resume} has its own variant and settings; leave others out beside resume")
        return resume_training(resume, *find_resumable(open_store(), resume), Progress())
    variant = find_variant(arch or "conv2_3x3", load_variants(variants))
    return train_variant(variant, make_settings(**settings), Progress())


def sweep(
    experiment: str | Path,
    *,
    seeds: str = "",
    workers: int = 0,
    scheduler: str | None = None,
    attempts: int = 2,
    keep: bool = False,
    on_cell: Callable[[CellReport], object] | None = None,
) -> Swept:
    """Train every cell of an experiment's file that is not done, as the command `sweep` does.

    `seeds` as "0-4" or "0,2,7"; `workers` cells at once, 0 for one a core, unless a Dask `scheduler` is named;
    `on_cell` is called with the report of each cell that has ended.

    Raises:
        PipelineError: a file that cannot be read, a store that cannot be used, cells that failed.
    """
    from pipeline.sweep.estimate import count_cores
    from pipeline.sweep.sweep import open_sweep

    opened = open_sweep(str(experiment), seeds)
    work = opened.find_work(keep=keep)
    reports: list[CellReport] = []

    def tell(report: CellReport) -> None:
        reports.append(report)
        if on_cell:
            on_cell(report)

    opened.run(work.left, tell, workers=workers or count_cores(), scheduler=scheduler, attempts=attempts)
    return Swept(cells=len(work.cells), reports=tuple(reports))


def compare(experiment: str | Path = "", *, rule: str | None = None, **asked: int | str) -> Compared:
    """Compare the finished runs of an experiment (its file, or its name in MLflow), judge its claims, and log that.

    `rule` is newest, best or all-seeds (with a file all-seeds); `asked` are settings that the runs must have.

    Raises:
        PipelineError: a store that cannot be used, or no run that can be compared.
    """
    from pipeline.report.pages.table import tabulate
    from pipeline.report.text.sentences import say_verdict
    from pipeline.workflows.compare import find_comparison

    found = find_comparison(str(experiment), rule, asked)
    (run_id, _), comparison = found.record(), found.comparison
    return Compared(
        table=tabulate(comparison.conclusion),
        runs=comparison.runs,
        verdicts=tuple(comparison.verdicts),
        sentences={verdict.name: say_verdict(verdict) for verdict in comparison.verdicts},
        run_id=run_id,
        found=found,
    )


def report(experiment: str | Path = "", output: str | Path = "report.html", **asked: int | str) -> WrittenReport:
    """Write the comparison of an experiment as one HTML file, or a PDF file where `output` ends in .pdf, and log it.

    Raises:
        PipelineError: as `compare`, and a PDF without the extra package.
    """
    from pipeline.report.pages.html import load_printer
    from pipeline.workflows.compare import find_comparison
    from pipeline.workflows.report import write_report

    path = Path(output)
    print_pdf = load_printer() if path.suffix == ".pdf" else None
    return write_report(find_comparison(str(experiment), None, asked), str(experiment), path, print_pdf)
