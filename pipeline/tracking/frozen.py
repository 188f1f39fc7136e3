"""Freeze what an experiment declares, so that a claim that changed after the first run can be told."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pandas as pd

from pipeline.study.claims import Standing
from pipeline.study.experiment import Experiment, hash_plan, load_experiment
from pipeline.tracking.store import Store, project_root
from pipeline.tracking.values import read_moment, read_texts

FROZEN = "plan.frozen"
FROZEN_AT = "plan.frozen_at"
GRACE = timedelta(seconds=10)
"""A run is created a moment before its start freezes the plan."""


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


def read_frozen(store: Store, experiment_id: str) -> tuple[dict[str, str] | None, str]:
    """(the frozen hashes, None if there are none; when they were frozen, as ISO 8601 text); writes nothing."""
    tags = store.client.get_experiment(experiment_id).tags
    return ((read_texts(tags[FROZEN]) or {}) if FROZEN in tags else None), tags.get(FROZEN_AT, "")


def judge_freezing(frozen_at: str, started: Iterable[datetime]) -> Standing:
    """Whether a plan was frozen before the first run, after it, or never; `started` is when the runs did."""
    if not frozen_at:
        return "never"
    moment = read_moment(frozen_at)
    if moment is None:
        return "late"
    return "late" if any(start + GRACE < moment for start in started if not pd.isna(start)) else ""


def freeze_declared(store: Store, run_id: str) -> None:
    """Freeze experiments/NAME.toml, where there is one, when a run of the MLflow experiment NAME starts."""
    experiment_id = store.client.get_run(run_id).info.experiment_id
    name = store.client.get_experiment(experiment_id).name
    files = {path.stem: path for path in (project_root() / "experiments").glob("*.toml")}
    if name in files:
        freeze_plan(store, experiment_id, load_experiment(files[name]))
