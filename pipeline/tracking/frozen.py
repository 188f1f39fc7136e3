"""Freeze what an experiment declares, so that a claim that changed after the first run can be told."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pipeline.study.experiment import Experiment, hash_plan, load_experiment
from pipeline.tracking.store import Store, project_root
from pipeline.tracking.values import read_texts

FROZEN = "plan.frozen"
FROZEN_AT = "plan.frozen_at"


def freeze_plan(store: Store, experiment_id: str, experiment: Experiment) -> dict[str, str]:
    """The hashes (study.experiment.hash_plan) as they were first seen, which is now if they never were.

    Empty where they cannot be read any more: then every claim counts as changed.
    """
    with store.lock:
        tags = store.client.get_experiment(experiment_id).tags
        if FROZEN in tags:
            return read_texts(tags[FROZEN]) or {}
        plan = hash_plan(experiment)
        store.client.set_experiment_tag(experiment_id, FROZEN_AT, datetime.now(UTC).isoformat(timespec="seconds"))
        store.client.set_experiment_tag(experiment_id, FROZEN, json.dumps(plan))
        return plan


def freeze_declared(store: Store, run_id: str) -> None:
    """Freeze experiments/NAME.toml, where there is one, when a run of the MLflow experiment NAME starts."""
    experiment_id = store.client.get_run(run_id).info.experiment_id
    name = store.client.get_experiment(experiment_id).name
    files = {path.stem: path for path in (project_root() / "experiments").glob("*.toml")}
    if name in files:
        freeze_plan(store, experiment_id, load_experiment(files[name]))
