"""An experiment opened for a sweep: its file, its place in the store, its data, and what is done of it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pipeline.data.named import load_data
from pipeline.errors import UnknownVariant
from pipeline.study.experiment import Experiment, load_experiment
from pipeline.sweep.cells import Cell, choose_seeds, plan_cells
from pipeline.tracking.query import read_runs
from pipeline.tracking.store import Store, find_experiment, open_store


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """`declared` has the chosen seeds; only runs that started at or after `since` count."""

    declared: Experiment
    store: Store
    experiment_id: str
    data_sha256: str
    since: pd.Timestamp | None = None

    def read_runs(self) -> pd.DataFrame:
        """The experiment's training runs that count, as tracking.query has them."""
        runs = read_runs(self.store, self.experiment_id)
        return runs if self.since is None else runs[runs["started"] >= self.since]

    def judge_cells(self, runs: pd.DataFrame) -> list[Cell]:
        """Every cell with its state by `runs`, as `read_runs` gives them."""
        return plan_cells(self.declared, self.data_sha256, runs)

    def read_cell(self, variant: str) -> Cell:
        """The first cell of a variant; raises UnknownVariant for one that the experiment does not declare."""
        for cell in self.judge_cells(self.read_runs()):
            if cell.variant.name == variant:
                return cell
        raise UnknownVariant(variant, self.declared.variants)


def open_sweep(path: str, seeds: str = "", since: str = "") -> Sweep:
    """Read an experiment's file, find or make its place in the store, and load its data once for their hash."""
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
        data_sha256=dataset.sha256,
        since=pd.Timestamp(since) if since else None,
    )
