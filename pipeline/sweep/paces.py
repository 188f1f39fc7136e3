"""How fast the machines that wrote to a store have trained, how far runs are, and how long one still takes."""

from __future__ import annotations

import math
import statistics
import time
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.errors import StoreError
from pipeline.plain import escape_controls
from pipeline.study import metrics
from pipeline.study.tags import EPOCH, HOST, OUTCOME, TRAIN_IMAGES
from pipeline.sweep.estimate import EVALUATION_SHARE, estimate_epoch
from pipeline.tracking.mlflow_internals import Keys
from pipeline.tracking.quick import read_experiments, store_errors
from pipeline.tracking.runs import read_pages, read_rows
from pipeline.tracking.values import read_count

if TYPE_CHECKING:
    from pipeline.study.settings import Settings
    from pipeline.study.variants import Variant
    from pipeline.tracking.store import Store

PACES: Keys = {
    "params": {"arch": "variant", "subset": "subset", "epochs": "epochs"},
    "tags": {OUTCOME: "outcome", HOST: "host", TRAIN_IMAGES: "train_images"},
    "latest_metrics": {str(metrics.EPOCH_SECONDS.final): str(metrics.EPOCH_SECONDS.final)},
}
LEAST_SHARE = 0.05
"""The share of an epoch or a sweep that must be done before the time left is estimated from it."""


def read_paces(store: Store) -> pd.DataFrame:
    """The columns of PACES for every training of every experiment; raises StoreError.

    `seconds` is from its start to its end. A run whose numbers cannot be understood is left out.
    """
    with store_errors(store):
        listed = read_experiments(store.database) if store.database else read_pages(store.client.search_experiments)
        rows = pd.concat([read_rows(store, each.experiment_id, PACES) for each in listed])
    for name in ("subset", "train_images", "epochs", "started", "ended", metrics.EPOCH_SECONDS.final):
        rows[name] = pd.to_numeric(rows[name], errors="coerce")
    rows["seconds"] = (rows["ended"] - rows["started"]) / 1000
    return rows[(rows["subset"] >= 0) & (rows[metrics.EPOCH_SECONDS.final] > 0)].astype({"subset": int})


def expect_epoch(variant: Variant, settings: Settings) -> float | None:
    """Seconds for an epoch by the runs that this machine has finished; None without any, or without their store."""
    from pipeline.tracking.store import open_store

    try:
        return estimate_epoch(variant, settings, read_paces(open_store()))
    except StoreError:
        return None


def read_running(store: Store, experiment_id: str) -> dict[str, tuple[int, float]]:
    """(last finished epoch, its test accuracy) of every run that is under way, by the run's name.

    Empty where the store does not answer: it is read to be looked at while a sweep goes on.
    """
    from pipeline.tracking.store import STORE_ERRORS

    try:
        runs = store.client.search_runs([experiment_id], "tags.kind = 'train' AND tags.outcome = 'running'")
    except STORE_ERRORS:
        return {}
    return {
        escape_controls(str(run.info.run_name)): (
            read_count(run.data.tags.get(EPOCH)) or 0,
            run.data.metrics.get(metrics.TEST_ACCURACY, math.nan),
        )
        for run in runs
    }


class Pace:
    """How long the rest of a training takes: by the epochs that were seen, before that by the first batches.

    `expected` is what an epoch takes by earlier runs, None where there are none: it counts until there are batches.
    """

    def __init__(self) -> None:
        self.expected: float | None = None
        self.taken: list[float] = []
        self.started = time.monotonic()

    def start_epoch(self) -> None:
        """An epoch begins now."""
        self.started = time.monotonic()

    def end_epoch(self) -> None:
        """An epoch ends now, evaluation included, and the next one begins."""
        self.taken.append(time.monotonic() - self.started)
        self.start_epoch()

    def estimate_left(self, share: float, epochs: int) -> float | None:
        """Seconds left when this `share` of an epoch's batches is done and so many epochs follow; None at the start."""
        passed = time.monotonic() - self.started
        if self.taken or share < LEAST_SHARE:
            whole = statistics.median(self.taken) if self.taken else self.expected
            return None if whole is None else max(whole - passed, 0.0) + whole * epochs
        whole = passed / share * EVALUATION_SHARE
        return whole - passed + whole * epochs
