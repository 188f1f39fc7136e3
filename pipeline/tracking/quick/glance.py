"""A SQLite store read without MLflow, whose import takes seconds: what a command says before it works, and `status`.

Everything here answers None where it cannot be sure, for one as a newer MLflow has written the store; the caller then
asks MLflow.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from pipeline.plain import escape_controls
from pipeline.tracking.quick.records import NEVER, ExperimentRecord, RunRecord
from pipeline.tracking.tracking_uri import find_database, project_root, read_tracking_uri
from pipeline.tracking.values import read_milliseconds

TIMEOUT = 5.0  # seconds that SQLite waits for another connection


def find_file() -> Path | None:
    """The store in force, where it is a SQLite file that is there, with tables of this MLflow or an earlier one."""
    database = find_database(read_tracking_uri(project_root()))
    if database is None or not database.is_file():
        return None
    try:
        with closing(_connect(database)) as connection:
            (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, TypeError):
        return None
    mlflow = find_spec("mlflow")
    known = Path(mlflow.origin).parent / "store" / "db_migrations" / "versions" if mlflow and mlflow.origin else Path()
    return database if str(version).isalnum() and any(known.glob(f"{version}_*.py")) else None


def list_names() -> list[str] | None:
    """The names of the experiments that are not deleted."""
    database = find_file()
    try:
        return None if database is None else [each.name for each in read_experiments(database)]
    except sqlite3.Error:
        return None


def read_experiments(database: Path) -> list[ExperimentRecord]:
    """The experiments that are not deleted, oldest first; raises sqlite3.Error."""
    with closing(_connect(database)) as connection:
        found = connection.execute(
            "SELECT experiment_id, name, artifact_location FROM experiments WHERE lifecycle_stage = 'active' "
            "ORDER BY experiment_id"
        ).fetchall()
    return [
        ExperimentRecord(experiment_id=str(number), name=escape_controls(name), tags={}, artifact_uri=place or "")
        for number, name, place in found
    ]


def read_trainings(database: Path, experiments: Iterable[ExperimentRecord]) -> list[RunRecord]:
    """The trainings of these experiments that are not deleted, oldest first; raises sqlite3.Error."""
    ids = [int(each.experiment_id) for each in experiments]
    chosen = (
        "FROM runs JOIN tags AS kind ON kind.run_uuid = runs.run_uuid AND kind.key = 'kind' AND kind.value = 'train' "
        f"WHERE lifecycle_stage = 'active' AND experiment_id IN ({', '.join('?' * len(ids))})"
    )
    said: dict[str, dict[str, dict[str, str]]] = {}
    with closing(_connect(database)) as connection:
        runs = connection.execute(
            f"SELECT runs.run_uuid, experiment_id, status, start_time, artifact_uri {chosen} ORDER BY start_time", ids
        ).fetchall()
        for table in ("tags", "params", "latest_metrics"):
            of_runs: dict[str, dict[str, str]] = defaultdict(dict)
            for run_id, key, value in connection.execute(
                f"SELECT run_uuid, key, value FROM {table} WHERE run_uuid IN (SELECT runs.run_uuid {chosen})", ids
            ):
                of_runs[run_id][key] = escape_controls(value) if isinstance(value, str) else value
            said[table] = of_runs
    return [
        RunRecord(
            run_id=run_id,
            experiment_id=str(experiment_id),
            status=status,
            started=read_milliseconds(started) or NEVER,
            deleted=False,
            artifact_uri=place or "",
            tags=said["tags"][run_id],
            params=said["params"][run_id],
            metrics=said["latest_metrics"][run_id],  # type: ignore[arg-type]
        )
        for run_id, experiment_id, status, started, place in runs
    ]


def find_journals(database: Path) -> list[str]:
    """The ids of the runs of which the store has not got everything, as tracking.journal finds them."""
    return sorted(path.stem for path in (database.parent / "mlruns" / ".journal").glob("*.jsonl"))


def _connect(database: Path) -> sqlite3.Connection:
    """A read-only connection."""
    return sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=TIMEOUT)
