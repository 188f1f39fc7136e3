"""An experiment opened for a sweep: its file, its place in the store, its data, and what is done of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.data.datasets import Dataset, load_data
from pipeline.errors import CellTaken, TrainingError, UnknownVariant
from pipeline.study.experiment import Experiment, choose_seeds, load_experiment
from pipeline.study.layers import check_fit
from pipeline.study.variants import find_variant
from pipeline.sweep.cells import Cell, find_earlier, keep_earlier, plan_cells
from pipeline.sweep.estimate import order_cells
from pipeline.sweep.paces import read_paces
from pipeline.tracking.quick import look_up_name, open_to_read
from pipeline.tracking.runs import make_no_runs, read_runs, read_trained_rows

if TYPE_CHECKING:  # `plan` needs neither MLflow nor Dask, which takes seconds to import
    from pipeline.sweep.execute import CellReport
    from pipeline.tracking.store import Store
    from pipeline.workflows.train import RunProgress

Report = Callable[["CellReport"], object]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is left to do of a sweep: `cells` has all of them with their states, `left` those to be trained.

    `earlier` counts the cells that an earlier version of the training has finished, and that are not kept.
    """

    cells: Sequence[Cell]
    left: Sequence[Cell]
    runs: pd.DataFrame
    earlier: int


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """`declared` has the chosen seeds; only runs that started at or after `since` (ISO 8601, "" for all) count.

    `experiment_id` is "" where the store has no such experiment yet.
    """

    path: str
    declared: Experiment
    store: Store
    experiment_id: str
    dataset: Dataset
    since: str = ""

    def read_runs(self) -> pd.DataFrame:
        """The experiment's training runs that count, as tracking.runs has them."""
        runs = read_runs(self.store, self.experiment_id) if self.experiment_id else make_no_runs()
        return runs[runs["started"] >= pd.Timestamp(self.since)] if self.since else runs

    def find_work(self, *, keep: bool = False) -> Work:
        """Every cell with its state; with `keep` those count as done that an earlier version has finished."""
        runs = self.read_runs()
        cells = self.judge_cells(runs)
        rows = partial(read_trained_rows, self.store, self.experiment_id)
        earlier = find_earlier(cells, self.dataset.sha256, runs, rows)
        cells = keep_earlier(cells, earlier) if keep else cells
        left = [cell for cell in cells if cell.state != "finished"]
        return Work(cells=cells, left=left, runs=runs, earlier=0 if keep else len(earlier))

    def judge_cells(self, runs: pd.DataFrame) -> list[Cell]:
        """Every cell with its state by `runs`, as `read_runs` gives them."""
        dataset = self.dataset
        return plan_cells(self.declared, dataset.sha256, runs, dataset.images, len(dataset.y_train))

    def read_paces(self, runs: pd.DataFrame) -> pd.DataFrame:
        """The runs by which this machine is timed: the experiment's own, else those of every experiment."""
        own = runs[(runs["outcome"] == "finished") & (runs["host"] == socket.gethostname())]
        if own.empty:
            return read_paces(self.store)
        return own.assign(seconds=(own["ended"] - own["started"]).dt.total_seconds())

    def train_cell(self, variant: str, progress: RunProgress) -> Cell:
        """Train a variant's first cell unless it is done, or go on with it; the cell as it was found.

        Safe to start twice, even at once: raises CellTaken where another process trains it, UnknownVariant for a
        variant that is not declared.
        """
        from pipeline.tracking.process import hold_lease
        from pipeline.tracking.write.resume import locate_checkpoints
        from pipeline.workflows.train import resume_training, train_variant

        with hold_lease(self.store, self.experiment_id, self._choose_cell(variant, make_no_runs()).fingerprint):
            cell = self._choose_cell(variant, self.read_runs())
            if cell.state == "running":
                raise CellTaken(f"{cell.name} is trained by run {cell.run_id} at this moment; let it end")
            os.environ["MLFLOW_EXPERIMENT_ID"] = self.experiment_id
            if cell.state == "stopped" and any(locate_checkpoints(self.store, cell.run_id).glob("epoch-*")):
                resume_training(cell.run_id, cell.variant, cell.settings, progress, self.dataset)
            elif cell.state != "finished":
                train_variant(cell.variant, cell.settings, progress, self.dataset)
        return cell

    def _choose_cell(self, variant: str, runs: pd.DataFrame) -> Cell:
        """The first cell of a variant, with its state by `runs`."""
        for cell in self.judge_cells(runs):
            if cell.variant.name == variant:
                return cell
        raise UnknownVariant(variant, self.declared.variants)

    def run(self, cells: Sequence[Cell], tell: Report, *, workers: int, scheduler: str | None, attempts: int) -> None:
        """Train `cells`, so many at once or on the Dask `scheduler`, and `tell` how each ended.

        What the file declares is frozen before the first of them starts. Raises TrainingError if a cell failed.
        """
        from pipeline.sweep.execute import open_cluster, run_cells
        from pipeline.tracking.frozen import freeze_plan
        from pipeline.tracking.write.recorder import end_launched_run

        words = [f"--since={self.since}", name_place(self.path)]
        failed = []
        with end_launched_run(self.store, "sweep"):  # before the workers start, who would take the run for their own
            if not cells:
                return
            freeze_plan(self.store, self.experiment_id, load_experiment(self.path))  # all seeds, whatever was chosen
            with open_cluster(workers, scheduler) as client:
                for report in run_cells(client, order_cells(cells), words, attempts):
                    tell(report)
                    failed += [report] if report.returncode else []
            if failed:
                names = ", ".join(report.name for report in failed)
                raise TrainingError(f"{len(failed)} of {len(cells)} cells failed: {names}; start the sweep again")


def open_sweep(path: str, seeds: str = "", since: str = "", *, create: bool = True) -> Sweep:
    """Read an experiment's file, find its place in the store, and load its data.

    Unless it may `create` the place, it reads the store alone, and the id is "" where there is none.
    """
    declared = load_experiment(path)
    if seeds:
        declared = choose_seeds(declared, seeds)
    if create:
        from pipeline.tracking.store import find_experiment, open_store

        store = open_store()
        experiment_id = find_experiment(store, declared.name, create=True)
    else:
        store = open_to_read()
        experiment_id = look_up_name(store, declared.name)
    settings = declared.settings
    dataset = load_data(settings.data, subset=settings.subset, normalization=settings.normalization)
    for name in declared.variants:
        check_fit(find_variant(name, declared.table), dataset.images)
    return Sweep(path=path, declared=declared, store=store, experiment_id=experiment_id, dataset=dataset, since=since)


def name_place(path: str) -> str:
    """An experiment's file as a worker finds it: within the project by its relative path, as it has its own clone."""
    place, root = Path(path).resolve(), Path(__file__).resolve().parents[2]
    return str(place.relative_to(root) if place.is_relative_to(root) else place)
