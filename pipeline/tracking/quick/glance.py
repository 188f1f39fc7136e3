"""A SQLite store read without MLflow, whose import takes seconds: what a command says before it works, and `status`.

Everything here answers None where it cannot be sure, for one as a newer MLflow has written the store; the caller then
asks MLflow.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.plain import escape_controls
from pipeline.tracking.mlflow_internals import knows_tables, query_experiments, query_trainings
from pipeline.tracking.quick.records import NEVER, ExperimentRecord, RunRecord
from pipeline.tracking.tracking_uri import find_database, project_root, read_tracking_uri
from pipeline.tracking.values import read_milliseconds


def find_file() -> Path | None:
    """The store in force, where it is a SQLite file that is there, with tables of this MLflow or an earlier one."""
    database = find_database(read_tracking_uri(project_root()))
    return database if database is not None and database.is_file() and knows_tables(database) else None


def list_names() -> list[str] | None:
    """The names of the experiments that are not deleted."""
    database = find_file()
    try:
        return None if database is None else [each.name for each in read_experiments(database)]
    except sqlite3.Error:
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
        table: {run_id: {name: _escape(value) for name, value in own.items()} for run_id, own in of_runs.items()}
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


def _escape(value: Any) -> Any:
    """A text without control characters; a number as it is."""
    return escape_controls(value) if isinstance(value, str) else value


def find_journals(database: Path) -> list[str]:
    """The ids of the runs that are not fully delivered to the store, as tracking.journal finds them."""
    return sorted(path.stem for path in (database.parent / "mlruns" / ".journal").glob("*.jsonl"))
