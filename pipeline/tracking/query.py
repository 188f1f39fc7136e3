"""Read training runs back as frames: by one read-only SQL query each where the store is SQLite, else through MLflow."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
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
        "data-name": "data_name",
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
Keys = Mapping[str, Mapping[str, str]]
RESULTS: Keys = MappingProxyType({"params": PARAMS, "tags": TAGS, "latest_metrics": {name: name for name in FINALS}})
"""Of each table of MLflow's the keys that are read, with the columns that they become."""
ORIGINS: Keys = MappingProxyType(
    {
        "params": {"data": "data", "data-name": "data_name"},
        "tags": {
            "mlflow.source.type": "source_type",
            "mlflow.source.git.commit": "commit",
            "mlflow.source.git.repoURL": "repository",
            "git.dirty": "dirty",
            "attempt": "attempts",
        },
    }
)
ROWS: Keys = MappingProxyType(
    {
        "params": {
            name: name
            for name in ("arch", "kernel", "features", "head", "padding", "pooling", "regularised", "depth-called")
        }
    }
)
"""The params from which study.own.restore_row rebuilds what a run has trained."""
CURVES = ("train/loss", "test/loss", "honest/train_loss", "honest/test_loss", "test/accuracy")
NUMBERS = (
    *("seed", "epochs", "batch_size", "subset", "threads", "depth_called", "depth_counted", "kernel"),
    *("parameters", "trainable_parameters"),
)
TEXTS = (*TAGS.values(), "normalization", "data_sha256", "data_name", "status")
INFO = ("status", "started", "ended", "artifact_uri")
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
    with _expect_answer():
        experiment = store.client.get_experiment(experiment_id).name
        rows = _read_rows(store, experiment_id, RESULTS)
        open_ids = rows.loc[rows["outcome"] == "running", "run_id"]
        alive = [run_id for run_id in open_ids if is_alive(store.client.get_run(run_id).data.tags)]
    return _type_columns(rows).assign(experiment=experiment, alive=rows["run_id"].isin(alive))


def read_origins(store: Store, experiment_id: str) -> pd.DataFrame:
    """Where the training runs of an experiment come from: one row a run, by run_id; raises StoreError.

    Columns: artifact_uri and those of ORIGINS, texts as they were logged, None where there is none.
    """
    with _expect_answer():
        rows = _read_rows(store, experiment_id, ORIGINS).set_index("run_id")
    texts = rows.drop(columns=["status", "started", "ended"]).astype(object)
    return texts.where(texts.notna(), None)


def read_trained_rows(store: Store, experiment_id: str) -> dict[str, dict[str, Any]]:
    """For study.own.restore_row, the params that say what each training run of an experiment has trained, by run id."""
    with _expect_answer():
        rows = _read_rows(store, experiment_id, ROWS).set_index("run_id")
    return {str(run_id): {name: facts[name] for name in ROWS["params"]} for run_id, facts in rows.iterrows()}


def read_history(store: Store, run_ids: Sequence[str], metrics: Sequence[str] = CURVES) -> pd.DataFrame:
    """The points of these metrics by epoch: run_id, metric, epoch (from 1), value; raises StoreError."""
    with _expect_answer():
        if store.database:
            points = list(_query_points(store, run_ids, metrics))
        else:
            points = [
                (run_id, name, point.step, point.value)
                for run_id in run_ids
                for name in metrics
                for point in store.client.get_metric_history(run_id, name)
            ]
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


@contextmanager
def _expect_answer() -> Iterator[None]:
    """Raise StoreError where the store does not answer what the block asks."""
    try:
        yield
    except STORE_ERRORS as error:
        raise StoreError(f"the tracking store did not answer the query: {first_line(error)}") from error


def _read_rows(store: Store, experiment_id: str, keys: Keys) -> pd.DataFrame:
    """One raw row for each training run: run_id, INFO and the columns of `keys`."""
    return _query_runs(store, experiment_id, keys) if store.database else _search_runs(store, experiment_id, keys)


def _query_runs(store: Store, experiment_id: str, keys: Keys) -> pd.DataFrame:
    """The raw rows from SQLite: only these keys, and as many statements whatever the number of runs."""
    with closing(_connect(store)) as connection:
        found = connection.execute(
            "SELECT run_uuid, status, start_time, end_time, artifact_uri FROM tags JOIN runs USING (run_uuid) "
            "WHERE key = 'kind' AND tags.value = 'train' AND experiment_id = ? AND lifecycle_stage = 'active' "
            "ORDER BY run_uuid",
            (int(experiment_id),),
        )
        runs = pd.DataFrame(found, columns=["run_id", *INFO]).set_index("run_id")
        connection.execute("CREATE TEMP TABLE chosen (run_uuid TEXT PRIMARY KEY) WITHOUT ROWID")
        connection.executemany("INSERT INTO chosen VALUES (?)", ((run_id,) for run_id in runs.index))
        for table, names in keys.items():
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
    """The raw points from SQLite, in batches of runs.

    The plus keeps SQLite from the primary key, by which it would read the points of all runs in the store each time.
    """
    keys = ", ".join("?" * len(metrics))
    with closing(_connect(store)) as connection:
        for first in range(0, len(run_ids), BATCH):
            batch = run_ids[first : first + BATCH]
            yield from connection.execute(
                "SELECT run_uuid, key, step, CASE WHEN is_nan THEN NULL ELSE value END FROM metrics "
                f"WHERE +key IN ({keys}) AND run_uuid IN ({', '.join('?' * len(batch))}) ORDER BY run_uuid, key, step",
                (*metrics, *batch),
            )


def _connect(store: Store) -> sqlite3.Connection:
    """A read-only connection."""
    assert store.database is not None
    return sqlite3.connect(f"{store.database.resolve().as_uri()}?mode=ro", uri=True, timeout=20)


def _search_runs(store: Store, experiment_id: str, keys: Keys) -> pd.DataFrame:
    """The raw rows through MLflow, page by page; the filter runs in the store, and no history is read."""
    rows: list[dict[str, Any]] = []
    token: str | None = ""
    while token is not None:
        page = store.client.search_runs(
            [experiment_id], "tags.kind = 'train'", max_results=PAGE, order_by=["run_id"], page_token=token or None
        )
        rows += (_flatten_run(run, keys) for run in page)
        token = page.token or None
    return pd.DataFrame(
        rows, columns=["run_id", *INFO, *(column for names in keys.values() for column in names.values())]
    )


def _flatten_run(run: Run, keys: Keys) -> dict[str, Any]:
    """The raw row of one run."""
    info, data = run.info, run.data
    said: Mapping[str, Mapping[str, Any]] = {"params": data.params, "tags": data.tags, "latest_metrics": data.metrics}
    values = (info.run_id, info.status, info.start_time, info.end_time, info.artifact_uri)
    return {
        **dict(zip(("run_id", *INFO), values, strict=True)),
        **{column: said[table].get(key) for table, names in keys.items() for key, column in names.items()},
    }


def _type_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """The raw rows with the types that the analysis expects."""
    typed = rows.assign(variant=rows["variant"].fillna(rows["arch"])).drop(columns=["arch", "artifact_uri"])
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
