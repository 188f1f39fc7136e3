"""A SQLite store read without MLflow, whose import takes seconds: what a command says before it works, and `status`.

`find_file` and `list_names` answer None where they cannot be sure, for one as a newer MLflow has written the store; the
caller then asks MLflow.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import StoreError, StoreUnreachable
from pipeline.plain import escape_controls, hide_secrets
from pipeline.study.tags import KIND, OUTCOME
from pipeline.tracking.mlflow_internals import knows_tables, query_experiments, query_trainings
from pipeline.tracking.tracking_uri import find_database, name_database, project_root, read_tracking_uri
from pipeline.tracking.values import escape, read_milliseconds

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NEVER = datetime.fromtimestamp(0, UTC)
STATES = ("finished", "running", "killed", "failed")


@dataclass(frozen=True, kw_only=True)
class Store:
    """An open tracking store; `lock` guards what must happen once (creation of the tables, of an experiment)."""

    uri: str
    client: MlflowClient
    lock: AbstractContextManager[object]

    @property
    def database(self) -> Path | None:
        """The SQLite file, if the store is one."""
        return find_database(self.uri)


class _Reading(Store):
    """A store's file alone, which becomes the open store when its client or lock is asked for."""

    def __init__(self, database: Path) -> None:
        vars(self)["uri"] = name_database(database)

    def __getattr__(self, name: str) -> Any:
        from pipeline.tracking.store import open_store

        store = open_store()
        vars(self).update(vars(store))
        return getattr(store, name)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run as the store has it; `status` is MLflow's, `state` (one of STATES) what its process said last."""

    run_id: str
    experiment_id: str
    status: str
    started: datetime
    deleted: bool
    artifact_uri: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]

    @property
    def state(self) -> str:
        """The tag `outcome`; `mlflow run` overwrites the status, which serves where there is no tag."""
        return self.tags.get(OUTCOME) or self.status.lower()

    @property
    def is_training(self) -> bool:
        """Whether a training wrote it."""
        return self.tags.get(KIND) == "train"


@dataclass(frozen=True, kw_only=True)
class ExperimentRecord:
    """One MLflow experiment as the store has it."""

    experiment_id: str
    name: str
    tags: Mapping[str, str]
    artifact_uri: str


def find_file() -> Path | None:
    """The store in force, where it is a SQLite file that is there, with tables of this MLflow or an earlier one."""
    database = find_database(read_tracking_uri(project_root()))
    return database if database is not None and database.is_file() and knows_tables(database) else None


def list_names() -> list[str] | None:
    """The names of the experiments that are not deleted."""
    with suppress(sqlite3.Error):
        if database := find_file():
            return [each.name for each in read_experiments(database)]
    return None


def read_experiments(database: Path) -> list[ExperimentRecord]:
    """The experiments that are not deleted, oldest first; raises sqlite3.Error."""
    return [
        ExperimentRecord(experiment_id=str(number), name=escape_controls(name), tags={}, artifact_uri=place or "")
        for number, name, place in query_experiments(database)
    ]


def read_trainings(database: Path, experiments: Iterable[ExperimentRecord]) -> list[RunRecord]:
    """The trainings of these experiments that are not deleted, oldest first; raises sqlite3.Error."""
    runs, said = query_trainings(database, [int(each.experiment_id) for each in experiments])
    texts = {
        table: {run_id: {name: escape(value) for name, value in own.items()} for run_id, own in of_runs.items()}
        for table, of_runs in said.items()
    }
    return [
        RunRecord(
            run_id=run_id,
            experiment_id=str(experiment_id),
            status=status,
            started=read_milliseconds(started) or NEVER,
            deleted=False,
            artifact_uri=place or "",
            tags=texts["tags"].get(run_id, {}),
            params=texts["params"].get(run_id, {}),
            metrics=texts["latest_metrics"].get(run_id, {}),
        )
        for run_id, experiment_id, status, started, place in runs
    ]


def locate_journals(store: Store) -> Path:
    """The folder of all journals: on this machine, beside the artifacts of the default store."""
    root = store.database.parent if store.database else project_root()
    return root / "mlruns" / ".journal"


def find_journals(store: Store) -> list[str]:
    """The ids of the runs that are not fully delivered to the store."""
    return sorted(path.stem for path in locate_journals(store).glob("*.jsonl"))


def open_to_read() -> Store:
    """The store in force, for a command that writes nothing; raises StoreError."""
    if database := find_file():
        return _Reading(database)
    from pipeline.tracking.store import open_store

    return open_store()


def look_up_name(store: Store, name: str) -> str:
    """The id of an experiment by its name, "" where there is none; raises StoreError."""
    with store_errors(store):
        if store.database:
            return next((each.experiment_id for each in read_experiments(store.database) if each.name == name), "")
        experiment = store.client.get_experiment_by_name(name)
    return str(experiment.experiment_id) if experiment and experiment.lifecycle_stage == "active" else ""


@contextmanager
def store_errors(store: Store, what: str = "did not answer") -> Iterator[None]:
    """Turn what a store raises into one line.

    Raises StoreUnreachable (exit code 74; a sweep tries again) where a server or database cannot be reached or is
    locked, and StoreError (exit code 1) where it refuses, or the SQLite file cannot be used.
    """
    try:
        yield
    except Exception as error:
        from pipeline.tracking.reach import explain  # only now, as it imports MLflow
        from pipeline.tracking.store import STORE_ERRORS, is_unreachable

        if not isinstance(error, STORE_ERRORS):
            raise
        later = is_unreachable(error) and (store.database is None or "locked" in str(error))
        raise (StoreUnreachable if later else StoreError)(
            f"the tracking store {what}: {hide_secrets(explain(error, store.database), store.uri)}"
        ) from error
