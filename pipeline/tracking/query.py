"""Read training runs back as frames: by one read-only SQL query each where the store is SQLite, else through MLflow."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from types import MappingProxyType
from typing import Any

import pandas as pd
from mlflow.entities import Run

from pipeline.errors import StoreError
from pipeline.study.settings import LATER
from pipeline.tracking.environment import is_alive
from pipeline.tracking.store import STORE_ERRORS, Store, first_line

PARAMS: Mapping[str, str] = MappingProxyType(
    {
        "arch": "arch",
        "seed": "seed",
        "epochs": "epochs",
        "batch-size": "batch_size",
        "subset": "subset",
        "threads": "threads",
        "normalization": "normalization",
        "precision": "precision",
        "jit": "jit",
        "data-sha256": "data_sha256",
        "depth-called": "depth_called",
        "depth-counted": "depth_counted",
        "kernel": "kernel",
        "regularised": "regularised",
        "dropout": "dropout",
        "batch-norm": "batch_norm",
        "parameters": "parameters",
        "parameters-trainable": "trainable_parameters",
    }
)
TAGS: Mapping[str, str] = MappingProxyType(
    {
        "mlflow.runName": "run_name",
        "variant": "variant",
        "outcome": "outcome",
        "outcome.reason": "reason",
        "weights.sha256": "weights_sha256",
        "fingerprint": "fingerprint",
        "host": "host",
    }
)
FINALS = tuple(
    f"final/{name}"
    for name in (
        *("train_loss", "train_accuracy", "test_loss", "test_accuracy"),
        *("honest_train_loss", "honest_train_accuracy", "honest_test_loss"),
        *("gap_notebook", "gap_honest", "epoch_seconds"),
    )
)
CURVES = ("train/loss", "test/loss", "honest/train_loss", "honest/test_loss")
NUMBERS = (
    *("seed", "epochs", "batch_size", "subset", "threads", "depth_called", "depth_counted", "kernel"),
    *("parameters", "trainable_parameters"),
)
TEXTS = (*TAGS.values(), "normalization", "data_sha256", "status")
UNKNOWN = -1
PAGE = 1000
BATCH = 500  # run ids in one SQL statement


def read_runs(store: Store, experiment_id: str) -> pd.DataFrame:
    """One row for every training run of an experiment that is not deleted, in whatever state.

    Columns: run_id, run_name, experiment, variant, outcome, reason, status, started and ended (UTC, NaT where unknown),
    weights_sha256, the settings and factors (whole numbers, -1 where a run ended before it logged them; truth values;
    texts), the final metrics under their own names (nan where missing) and `alive`, whether its process lives (false
    for a run that has ended). Compare runs are no training runs. Raises StoreError.
    """
    try:
        experiment = store.client.get_experiment(experiment_id).name
        rows = _query_runs(store, experiment_id) if store.database else _search_runs(store, experiment_id)
        open_ids = rows.loc[rows["outcome"] == "running", "run_id"]
        alive = [run_id for run_id in open_ids if is_alive(store.client.get_run(run_id).data.tags)]
    except STORE_ERRORS as error:
        raise StoreError(f"the tracking store did not answer the query: {first_line(error)}") from error
    return _type_columns(rows).assign(experiment=experiment, alive=rows["run_id"].isin(alive))


def read_history(store: Store, run_ids: Sequence[str], metrics: Sequence[str] = CURVES) -> pd.DataFrame:
    """The points of these metrics by epoch: run_id, metric, epoch (from 1), value; raises StoreError."""
    try:
        if store.database:
            points = list(_query_points(store, run_ids, metrics))
        else:
            points = [
                (run_id, name, point.step, point.value)
                for run_id in run_ids
                for name in metrics
                for point in store.client.get_metric_history(run_id, name)
            ]
    except STORE_ERRORS as error:
        raise StoreError(f"the tracking store did not answer the query: {first_line(error)}") from error
    return pd.DataFrame(points, columns=["run_id", "metric", "epoch", "value"])


def read_running(store: Store, experiment_id: str) -> dict[str, tuple[int, float]]:
    """(last finished epoch, its test accuracy) of every run that is under way, by the run's name.

    Empty where the store does not answer: it is read to be looked at while a sweep goes on.
    """
    try:
        runs = store.client.search_runs([experiment_id], "tags.kind = 'train' AND tags.outcome = 'running'")
    except STORE_ERRORS:
        return {}
    return {
        str(run.info.run_name): (int(run.data.tags.get("epoch", 0)), run.data.metrics.get("test/accuracy", math.nan))
        for run in runs
    }


def _query_runs(store: Store, experiment_id: str) -> pd.DataFrame:
    """The raw rows from SQLite: only the keys that a comparison needs, four statements whatever the number of runs."""
    with closing(_connect(store)) as connection:
        found = connection.execute(
            "SELECT run_uuid, status, start_time, end_time FROM tags JOIN runs USING (run_uuid) "
            "WHERE key = 'kind' AND tags.value = 'train' AND experiment_id = ? AND lifecycle_stage = 'active' "
            "ORDER BY run_uuid",
            (int(experiment_id),),
        )
        runs = pd.DataFrame(found, columns=["run_id", "status", "started", "ended"]).set_index("run_id")
        connection.execute("CREATE TEMP TABLE chosen (run_uuid TEXT PRIMARY KEY) WITHOUT ROWID")
        connection.executemany("INSERT INTO chosen VALUES (?)", ((run_id,) for run_id in runs.index))
        for table, names in (("params", PARAMS), ("tags", TAGS), ("latest_metrics", {name: name for name in FINALS})):
            value = "CASE WHEN is_nan THEN NULL ELSE value END" if table == "latest_metrics" else "value"
            for key, column in names.items():
                # One key at a time, in the order of the runs: the primary key (key, run) serves it, nothing is pivoted.
                found = connection.execute(
                    f"SELECT {value} FROM chosen LEFT JOIN {table} AS t ON t.key = ? AND t.run_uuid = chosen.run_uuid "
                    "ORDER BY chosen.run_uuid",
                    (key,),
                )
                runs[column] = [row[0] for row in found]
    return runs.reset_index()


def _query_points(
    store: Store, run_ids: Sequence[str], metrics: Sequence[str]
) -> Iterator[tuple[str, str, int, float]]:
    """The raw points from SQLite, in batches of runs."""
    keys = ", ".join("?" * len(metrics))
    with closing(_connect(store)) as connection:
        for first in range(0, len(run_ids), BATCH):
            batch = run_ids[first : first + BATCH]
            yield from connection.execute(
                "SELECT run_uuid, key, step, CASE WHEN is_nan THEN NULL ELSE value END FROM metrics "
                f"WHERE key IN ({keys}) AND run_uuid IN ({', '.join('?' * len(batch))}) ORDER BY run_uuid, key, step",
                (*metrics, *batch),
            )


def _connect(store: Store) -> sqlite3.Connection:
    """A read-only connection."""
    assert store.database is not None
    return sqlite3.connect(f"{store.database.resolve().as_uri()}?mode=ro", uri=True, timeout=20)


def _search_runs(store: Store, experiment_id: str) -> pd.DataFrame:
    """The raw rows through MLflow, page by page; the filter runs in the store, and no history is read."""
    rows: list[dict[str, Any]] = []
    token: str | None = ""
    while token is not None:
        page = store.client.search_runs(
            [experiment_id], "tags.kind = 'train'", max_results=PAGE, order_by=["run_id"], page_token=token or None
        )
        rows += map(_flatten_run, page)
        token = page.token or None
    columns = ["run_id", "status", "started", "ended", *PARAMS.values(), *TAGS.values(), *FINALS]
    return pd.DataFrame(rows, columns=columns)


def _flatten_run(run: Run) -> dict[str, Any]:
    """The raw row of one run."""
    return {
        "run_id": run.info.run_id,
        "status": run.info.status,
        "started": run.info.start_time,
        "ended": run.info.end_time,
        **{column: run.data.params.get(key) for key, column in PARAMS.items()},
        **{column: run.data.tags.get(key) for key, column in TAGS.items()},
        **{name: run.data.metrics.get(name) for name in FINALS},
    }


def _type_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """The raw rows with the types that the analysis expects."""
    typed = rows.assign(variant=rows["variant"].fillna(rows["arch"])).drop(columns="arch")
    for name in NUMBERS:
        typed[name] = pd.to_numeric(typed[name], errors="coerce").fillna(UNKNOWN).astype(int)
    for name in FINALS:
        typed[name] = typed[name].astype(float)
    for name in TEXTS:
        typed[name] = typed[name].fillna("").astype(str)
    for name, only in LATER.items():
        typed[name] = typed[name].fillna(only).astype(str)
    for name in ("started", "ended"):
        typed[name] = pd.to_datetime(pd.to_numeric(typed[name]), unit="ms", utc=True)
    typed["dropout"] = pd.to_numeric(typed["dropout"], errors="coerce").fillna(0) > 0
    for name in ("regularised", "batch_norm"):
        typed[name] = typed[name] == "True"
    return typed
