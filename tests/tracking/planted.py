"""Runs planted through the recorder: real MLflow, made-up numbers."""

from __future__ import annotations

import contextlib
import json
import math
import os
from pathlib import Path

from pipeline.study.experiment import hash_plan, load_experiment
from pipeline.study.facts import describe_settings, describe_variant
from pipeline.study.metrics import FINALS
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.tracking.frozen import FROZEN, FROZEN_AT
from pipeline.tracking.quick import locate_journals
from pipeline.tracking.store import Store, find_experiment, open_store
from pipeline.tracking.write.recorder import open_run, record_run

SHA256 = "5" * 64


def plant_run(store: Store, name: str, seed: int, *, epochs: int = 4, finished: bool = True) -> str:
    """A run with a curve and finals that depend on its variant and seed."""
    variant, settings = find_variant(name), Settings(epochs=epochs, subset=600, threads=1, seed=seed)
    with record_run(store, variant, settings) as recorder:
        recorder.log_params({**describe_settings(settings), **describe_variant(variant), "data-sha256": SHA256})
        gap = 0.05 + 0.01 * math.cos(seed) if variant.regularised else 0.2 + 0.01 * math.sin(seed)
        for epoch in range(1, epochs + 1):
            train = 1 / epoch
            losses = {"train/loss": train, "test/loss": train + gap}
            honest = {"honest/train_loss": train, "honest/test_loss": train + gap}
            recorder.end_epoch(epoch, {**losses, **honest})
        if not finished:
            raise KeyboardInterrupt
        finals = dict.fromkeys(FINALS, 0.5 + seed / 64)
        finals |= {"final/honest_test_loss": train + gap, "final/honest_train_loss": train, "final/gap_honest": gap}
        recorder.log(finals, {"weights.sha256": f"{seed:064}"}, step=epochs)
    return recorder.run_id


def plant_journal(store: Store, run_id: str, text: str = "") -> Path:
    """A journal as a process leaves it that has not delivered this to the store."""
    path = locate_journals(store) / f"{run_id}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def declare_frozen(path: Path, text: str, experiment_id: str) -> str:
    """The file of an experiment that is in the store, frozen long before its runs."""
    path.write_text(text)
    client = open_store().client
    client.set_experiment_tag(experiment_id, FROZEN, json.dumps(hash_plan(load_experiment(path))))
    client.set_experiment_tag(experiment_id, FROZEN_AT, "2020-01-01T00:00:00+00:00")
    return str(path)


def plant_study(store: Store, experiment: str, variants: tuple[str, ...], seeds: range) -> str:
    """A run of every variant and seed, one that was interrupted, one of other settings, one comparison; the id."""
    os.environ["MLFLOW_EXPERIMENT_NAME"] = experiment
    try:
        for name in variants:
            for seed in seeds:
                plant_run(store, name, seed)
        plant_run(store, variants[0], 0, epochs=5)
        with contextlib.suppress(KeyboardInterrupt):
            plant_run(store, variants[0], 7, finished=False)
    finally:
        del os.environ["MLFLOW_EXPERIMENT_NAME"]
    experiment_id = find_experiment(store, experiment)
    with open_run(store, "compare", "compare", experiment_id):
        pass
    return experiment_id
