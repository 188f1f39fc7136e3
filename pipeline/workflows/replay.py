"""Train the first epochs of a recorded run again, and hold every metric against what it logged."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from pipeline import interrupts
from pipeline.data.datasets import load_data
from pipeline.errors import AnalysisError
from pipeline.study import metrics
from pipeline.study.facts import restore_row, restore_settings
from pipeline.study.tags import FINGERPRINT
from pipeline.tracking.provenance import ENVIRONMENT, name_cpu
from pipeline.tracking.runs import read_history
from pipeline.tracking.store import Store, store_errors
from pipeline.training.fingerprint import fingerprint_training
from pipeline.workflows.compare import read_experiment
from pipeline.workflows.train import LOADING, TRAINING, RunProgress

COMPARED = tuple(metric for metric in metrics.BY_EPOCH if metric.unit != metrics.SECONDS)
LOSS_TOLERANCE, ACCURACY_TOLERANCE = 0.25, 0.01
"""Elsewhere than on its own type of processor a run rounds otherwise, and drifts: a loss may differ by a quarter of
itself and a hundredth of a nat, an accuracy by a hundredth."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What the run logged of a metric after an epoch, and what was found now."""

    epoch: int
    metric: str
    logged: float
    found: float


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What a replay found: `differences` in bits, and of these the `failures`, which say that the run was not repeated.

    On its own type of processor every difference is one, elsewhere those beyond the tolerance. Metrics that the run did
    not log, as one of an earlier version, are `unknown` and not compared.
    """

    run_id: str
    variant: str
    seed: int
    epochs: int
    compared: int
    same_processor: bool
    differences: Sequence[Difference]
    failures: Sequence[Difference]
    unknown: Sequence[str]


def replay_run(experiment: str, variant: str, seed: int | None, epochs: int, progress: RunProgress) -> Replay:
    """Repeat the first epochs of a finished run of an experiment, of any variant ("") or seed (None) the quickest one.

    Nothing is logged. Raises AnalysisError where there is no such run, or where another version of the training or
    other data are here.
    """
    interrupts.follow_launcher()
    _, store, _, runs = read_experiment(experiment)
    chosen = runs[(runs["outcome"] == "finished") & (not variant or runs["variant"] == variant)]
    chosen = chosen[chosen["seed"] == seed] if seed is not None else chosen
    if chosen.empty:
        raise AnalysisError("no finished run of that variant and seed to replay; import evidence or train it first")
    run = chosen.sort_values([metrics.EPOCH_SECONDS.final, "run_id"]).iloc[0]
    return _compare(store, run, _train_again(store, str(run["run_id"]), epochs, progress))


def _train_again(store: Store, run_id: str, epochs: int, progress: RunProgress) -> list[dict[str, float]]:
    """The metrics of the first epochs, trained now."""
    with store_errors(store):
        run = store.client.get_run(run_id)
    row, settings = restore_row(run.data.params), restore_settings(run.data.params)
    dataset = load_data(settings.data, subset=settings.subset, normalization=settings.normalization)
    if run.data.tags.get(FINGERPRINT) != fingerprint_training(row, settings, dataset.sha256):
        raise AnalysisError(f"run {run_id} is of another version of the training or of other data; train it again")
    short = replace(settings, epochs=min(epochs, settings.epochs))
    progress.begin_run(run_id, row, short, resumes=False)
    progress.show_data(dataset)
    with progress.during(LOADING):
        from pipeline.training.run import train_run
        from pipeline.training.runtime import prepare_runtime

        prepare_runtime(settings.threads)
    with progress.during(TRAINING):
        return train_run(row, short, dataset, [progress]).history


def _compare(store: Store, run: pd.Series, history: Sequence[dict[str, float]]) -> Replay:
    """Hold the metrics of each epoch against those that the run (a row of tracking.runs.read_runs) logged."""
    run_id = str(run["run_id"])
    logged = read_history(store, [run_id], COMPARED)
    known = {(metric, epoch): value for _, metric, epoch, value in logged.itertuples(index=False)}
    logs = set(logged["metric"])
    if not logs:
        raise AnalysisError(f"run {run_id} has no metric by epoch to compare; replay another one, or train it again")
    with store_errors(store):
        environment = Path(store.client.download_artifacts(run_id, ENVIRONMENT)).read_text(encoding="utf-8")
    pairs = [
        Difference(epoch=epoch, metric=metric, logged=known.get((metric, epoch), math.nan), found=measured[metric])
        for epoch, measured in enumerate(history, start=1)
        for metric in map(str, COMPARED)
        if metric in logs
    ]
    differences = [pair for pair in pairs if pair.found != pair.logged]
    same_processor = json.loads(environment).get("cpu", "") == name_cpu()
    return Replay(
        run_id=run_id,
        variant=str(run["variant"]),
        seed=int(run["seed"]),
        epochs=len(history),
        compared=len(pairs),
        same_processor=same_processor,
        differences=differences,
        failures=[each for each in differences if same_processor or not _is_near(each)],
        unknown=[str(metric) for metric in COMPARED if metric not in logs],
    )


def _is_near(difference: Difference) -> bool:
    """Whether a metric is within the tolerance of another processor."""
    if difference.metric.endswith("accuracy"):
        return abs(difference.found - difference.logged) <= ACCURACY_TOLERANCE
    return math.isclose(difference.found, difference.logged, rel_tol=LOSS_TOLERANCE, abs_tol=ACCURACY_TOLERANCE)
