"""Freeze what an experiment declares, so that a claim that changed after the first run can be told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pandas as pd
from mlflow.entities import Run

from pipeline.study.claims import Standing
from pipeline.study.experiment import Experiment, hash_plan, load_experiment
from pipeline.tracking.store import Store, project_root
from pipeline.tracking.values import read_milliseconds, read_moment, read_texts

FROZEN = "plan.frozen"
FROZEN_AT = "plan.frozen_at"
GRACE = timedelta(seconds=10)
"""Of runs that start together, one freezes the plan; the others were created a moment before."""


def freeze_plan(
    store: Store, experiment_id: str, experiment: Experiment, moment: datetime | None = None
) -> dict[str, str]:
    """The hashes (study.experiment.hash_plan) as they were first seen, which is at `moment` (now) if they never were.

    Empty where they cannot be read any more: then every claim counts as changed.
    """
    with store.lock:
        tags = store.client.get_experiment(experiment_id).tags
        if FROZEN in tags:
            return read_texts(tags[FROZEN]) or {}
        plan = hash_plan(experiment)
        moment = moment or datetime.now(UTC)
        store.client.set_experiment_tag(experiment_id, FROZEN_AT, moment.isoformat(timespec="milliseconds"))
        store.client.set_experiment_tag(experiment_id, FROZEN, json.dumps(plan))
        return plan


def read_frozen(store: Store, experiment_id: str) -> tuple[dict[str, str] | None, str]:
    """(the frozen hashes, None if there are none; when they were frozen, as ISO 8601 text); writes nothing."""
    tags = store.client.get_experiment(experiment_id).tags
    return ((read_texts(tags[FROZEN]) or {}) if FROZEN in tags else None), tags.get(FROZEN_AT, "")


def judge_freezing(frozen_at: str, runs: pd.DataFrame) -> Standing:
    """Whether a plan was frozen before any result, after one, or never; `runs` as in tracking.runs.read_runs."""
    if not frozen_at:
        return "never"
    moment = read_moment(frozen_at)
    late = moment is None or ((runs["ended"] < moment) | (runs["started"] + GRACE < moment)).any()
    return "late" if late else ""


def freeze_declared(store: Store, run_id: str) -> None:
    """Freeze experiments/NAME.toml, where there is one, when a run of the MLflow experiment NAME starts."""
    run = store.client.get_run(run_id)
    experiment_id = run.info.experiment_id
    name = store.client.get_experiment(experiment_id).name
    files = {path.stem: path for path in (project_root() / "experiments").glob("*.toml")}
    if name in files:
        freeze_plan(store, experiment_id, load_experiment(files[name]), _find_moment(store, run))


def _find_moment(store: Store, run: Run) -> datetime | None:
    """When a run froze the plan: at its creation, perhaps minutes ago, unless there was a result since (None)."""
    since = f"attributes.end_time >= {run.info.start_time}"
    if run.data.metrics or store.client.search_runs([run.info.experiment_id], since, max_results=1):
        return None
    return read_milliseconds(run.info.start_time)
