"""Read training runs back as frames: by one read-only SQL query each where the store is SQLite, else through MLflow."""

from __future__ import annotations

import functools
import logging
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import RunsDamaged
from pipeline.plain import escape_controls
from pipeline.tracking.columns import CURVES, ORIGINS, PARAMS, PROCESS, RESULTS, ROW, type_columns
from pipeline.tracking.mlflow_internals import INFO, Keys, flatten_run, query_points, query_runs
from pipeline.tracking.process import is_alive
from pipeline.tracking.quick import Store, read_experiments, store_errors
from pipeline.tracking.values import RESULTS as CHECKS
from pipeline.tracking.values import accept_start, escape, find_bad

logger = logging.getLogger(__name__)
PAGE = 1000


def read_runs(store: Store, experiment_id: str) -> pd.DataFrame:
    """One row for every training run of an experiment that is not deleted, in whatever state.

    Columns: run_id, run_name, experiment, variant, outcome, reason, status, started and ended (UTC, NaT where unknown),
    weights_sha256, the settings and factors (whole numbers, -1 where a run ended before it logged them; truth values;
    texts), the final metrics under their own names (nan where missing) and `alive`, whether its process lives (false
    for a run that has ended). Compare runs are no training runs. A run of which a value cannot be understood is left
    out, and named in a warning. Raises StoreError.
    """
    with store_errors(store):
        experiment = _read_name(store, experiment_id)
    rows = _leave_out(read_rows(store, experiment_id, RESULTS))
    alive = _find_alive(store, experiment_id, rows.loc[rows["outcome"] == "running", "run_id"])
    return type_columns(rows).assign(experiment=experiment, alive=rows["run_id"].isin(alive))


def _read_name(store: Store, experiment_id: str) -> str:
    names = {each.experiment_id: each.name for each in read_experiments(store.database)} if store.database else {}
    return names.get(experiment_id) or escape_controls(store.client.get_experiment(experiment_id).name)


def _find_alive(store: Store, experiment_id: str, run_ids: pd.Series) -> list[str]:
    if run_ids.empty:
        return []
    tags = read_rows(store, experiment_id, PROCESS).set_index("run_id")[list(PROCESS["tags"])]
    return [run_id for run_id in run_ids if is_alive(tags.loc[run_id].dropna().to_dict())]


def _leave_out(rows: pd.DataFrame) -> pd.DataFrame:
    """The raw rows that can be understood, their texts fit for a terminal; names the others, with the reason."""
    checks = {**CHECKS, "started": accept_start}
    columns = {name: PARAMS.get(name, name) for name in checks}
    bad = rows["started"].isna()
    for name, accepts in checks.items():
        values = rows[columns[name]]
        bad |= values.isin([value for value in values.dropna().unique() if not accepts(value)])
    for row in rows[bad].to_dict("records"):
        found = {name: row[column] for name, column in columns.items() if not pd.isna(row[column])}
        _name_left_out(row["run_id"], ", ".join(find_bad(found, checks)) or "it has no start")
    texts = rows.select_dtypes(exclude="number").columns
    clean = rows[~bad].reset_index(drop=True)
    return clean.assign(**{column: clean[column].map(escape) for column in texts})


@functools.cache  # once a process
def _name_left_out(run_id: str, reason: str) -> None:
    logger.warning("run %s is left out: %s; see `python -m pipeline doctor`", run_id, reason)


def make_no_runs() -> pd.DataFrame:
    """What `read_runs` gives where there is no run."""
    columns = [column for names in RESULTS.values() for column in names.values()]
    return type_columns(pd.DataFrame(columns=["run_id", *INFO, *columns])).assign(experiment="", alive=False)


def read_origins(store: Store, experiment_id: str) -> pd.DataFrame:
    """Where the training runs of an experiment come from: one row a run, by run_id; raises StoreError.

    Columns: artifact_uri and those of ORIGINS, without control characters, None where there is none.
    """
    rows = read_rows(store, experiment_id, ORIGINS).set_index("run_id")
    texts = rows.drop(columns=["status", "started", "ended"]).astype(object)
    return texts.map(escape).astype(object).where(texts.notna(), None)


def read_trained_rows(store: Store, experiment_id: str) -> dict[str, dict[str, Any]]:
    """For study.facts.restore_row: by run id, the params that say what each training run has trained."""
    rows = read_rows(store, experiment_id, {"params": {name: name for name in ROW}}).set_index("run_id")
    return {str(run_id): {name: facts[name] for name in ROW} for run_id, facts in rows.iterrows()}


def read_history(store: Store, run_ids: Sequence[str], names: Sequence[str] = CURVES) -> pd.DataFrame:
    """The points of these metrics by epoch: run_id, metric (categories), epoch (from 1), value; raises StoreError."""
    with store_errors(store):
        if store.database:
            return _frame_points(query_points(store.database, run_ids, names))
        return _frame_points(
            (run_id, name, point.step, point.value)
            for run_id in run_ids
            for name in names
            for point in store.client.get_metric_history(run_id, name)
        )


def damaged_point(run_id: str, name: str) -> RunsDamaged:
    """The error for a metric with a point that is not a number, as in an edited database."""
    return RunsDamaged(
        f"run {run_id} is damaged: a point of {name} is not a number; "
        f"delete it (`mlflow runs delete --run-id {run_id}`), and train it again"
    )


def _frame_points(points: Iterable[tuple[str, str, int, float | None]]) -> pd.DataFrame:
    """The points as a frame of numbers alone: of many runs there are millions."""
    numbers: tuple[dict[str, int], dict[str, int]] = {}, {}
    codes, epochs, values = (array("i"), array("i")), array("q"), array("d")
    for *words, epoch, value in points:
        for known, column, word in zip(numbers, codes, words, strict=True):
            column.append(known.setdefault(word, len(known)))
        try:
            epochs.append(epoch)
            values.append(float("nan") if value is None else value)
        except TypeError:
            raise damaged_point(*words) from None
    run_ids, names = (
        pd.Categorical.from_codes(
            np.frombuffer(column, dtype=np.int32), pd.Index(list(known), dtype=str)
        ).reorder_categories(sorted(known))
        for known, column in zip(numbers, codes, strict=True)
    )
    return pd.DataFrame({"run_id": run_ids, "metric": names, "epoch": np.asarray(epochs), "value": np.asarray(values)})


def read_rows(store: Store, experiment_id: str, keys: Keys) -> pd.DataFrame:
    """One raw row for each training run: run_id, INFO and the columns of `keys`; raises StoreError."""
    with store_errors(store):
        if store.database:
            return query_runs(store.database, experiment_id, keys)
        return _search_runs(store, experiment_id, keys)


def _search_runs(store: Store, experiment_id: str, keys: Keys) -> pd.DataFrame:
    """The raw rows through MLflow, page by page; the filter runs in the store, and no history is read."""
    runs = read_pages(store.client.search_runs, [experiment_id], "tags.kind = 'train'", order_by=["run_id"])
    columns = ["run_id", *INFO, *(column for names in keys.values() for column in names.values())]
    return pd.DataFrame([flatten_run(run, keys) for run in runs], columns=columns)


def read_pages(search: Callable[..., Any], *wanted: object, **more: object) -> Iterator[Any]:
    """Everything that a paged search of MLflow's client finds, which is asked for one page after the other."""
    token: str | None = ""
    while token is not None:
        page = search(*wanted, **more, max_results=PAGE, page_token=token or None)
        yield from page
        token = page.token or None
