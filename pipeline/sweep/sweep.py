"""An experiment opened for a sweep: its file, its place in the store, its data, and what is done of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from pipeline.data.datasets import Dataset, load_data
from pipeline.errors import UnknownVariant
from pipeline.study.experiment import Experiment, load_experiment
from pipeline.sweep.cells import Cell, choose_seeds, find_earlier, plan_cells
from pipeline.tracking.runs import read_runs, read_trained_rows
from pipeline.tracking.store import Store, find_experiment, open_store

NO_RUNS = pd.DataFrame(columns=["fingerprint", "outcome", "alive", "run_id", "started"])


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """`declared` has the chosen seeds; only runs that started at or after `since` count."""

    declared: Experiment
    store: Store
    experiment_id: str
    dataset: Dataset
    since: pd.Timestamp | None = None

    def read_runs(self) -> pd.DataFrame:
        """The experiment's training runs that count, as tracking.runs has them."""
        runs = read_runs(self.store, self.experiment_id)
        return runs if self.since is None else runs[runs["started"] >= self.since]

    def judge_cells(self, runs: pd.DataFrame) -> list[Cell]:
        """Every cell with its state by `runs`, as `read_runs` gives them."""
        return plan_cells(self.declared, self.dataset.sha256, runs)

    def find_earlier(self, cells: Sequence[Cell], runs: pd.DataFrame) -> dict[str, str]:
        """The finished runs of cells that are not done which an earlier version made, by the cell's fingerprint."""
        rows = partial(read_trained_rows, self.store, self.experiment_id)
        return find_earlier(cells, self.dataset.sha256, runs, rows)

    def choose_cell(self, variant: str, runs: pd.DataFrame | None = None) -> Cell:
        """The first cell of a variant, with its state by `runs`; raises UnknownVariant for one that is not declared."""
        for cell in self.judge_cells(NO_RUNS if runs is None else runs):
            if cell.variant.name == variant:
                return cell
        raise UnknownVariant(variant, self.declared.variants)


def open_sweep(path: str, seeds: str = "", since: str = "") -> Sweep:
    """Read an experiment's file, find or make its place in the store, and load its data."""
    declared = load_experiment(path)
    if seeds:
        declared = choose_seeds(declared, seeds)
    store = open_store()
    experiment_id = find_experiment(store, declared.name, create=True)
    settings = declared.settings
    dataset = load_data(settings.data, subset=settings.subset, normalization=settings.normalization)
    return Sweep(
        declared=declared,
        store=store,
        experiment_id=experiment_id,
        dataset=dataset,
        since=pd.Timestamp(since) if since else None,
    )
