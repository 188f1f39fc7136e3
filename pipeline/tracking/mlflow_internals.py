"""Everything of MLflow that is not its documented interface, in one place: an upgrade is checked here.

tests/tracking/test_mlflow_internals.py tries each of them, and names the versions that it was tried with.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.tracking.tracking_uri import name_database

if TYPE_CHECKING:  # the functions import what they need: reading a SQLite file needs nothing of MLflow
    import pandas as pd
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

LOGGED_IMAGES = "mlflow.loggedImages"  # the tag that lets MLflow's interface show the images of a run as a grid
COLOUR = "mlflow.runColor"  # the tag with the colour of a run in the interface, as #rrggbb
PREFERENCES = {
    "mlflow.workflowType_v1": '"machine_learning"',  # else the interface opens on its pages for language models
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
}
"""What a browser keeps (localStorage) of somebody who trains models and has closed the interface's chat panel."""
START_PAGE = "serve"  # the view function of the interface's start page in MLflow's Flask application
VIEW_TAG = "mlflow.sharedViewState."  # begins an experiment's tag with a view that the interface lists under Views
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""Where a SQLite store keeps an absolute path to artifacts; the last is the registry's copy of a model's."""
FIRST_TABLES = {"experiments", "runs", "metrics", "params", "tags"}
"""What MLflow makes before anything else: a store that is half made has some of them."""
INFO = ("status", "started", "ended", "artifact_uri")
BATCH = 500  # run ids in one SQL statement
TIMEOUT = 20  # seconds that SQLite waits for another connection
Keys = Mapping[str, Mapping[str, str]]
"""Of the tables params, tags and latest_metrics the keys to be read, with the columns that they become."""
Recorded = tuple[set[tuple[str, int, int, float | str]], dict[str, float | str]]
"""Every point of a run's metrics (name, step, milliseconds, value), and the latest value of each."""


def make_tables(database: Path) -> None:
    """Make all tables of a store in a new SQLite file: dozens of steps of MLflow's, and one wait for the disk."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine
    from sqlalchemy import event

    engine = create_sqlalchemy_engine(name_database(database))
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    _initialize_tables(engine)
    engine.dispose()
    with database.open("rb+") as file:
        os.fsync(file.fileno())


def knows_version(version: str) -> bool:
    """Whether tables of this version are this MLflow's or an earlier one's, found out without importing it."""
    mlflow = find_spec("mlflow")
    known = Path(mlflow.origin).parent / "store" / "db_migrations" / "versions" if mlflow and mlflow.origin else Path()
    return version.isalnum() and any(known.glob(f"{version}_*.py"))


def knows_tables(database: Path) -> bool:
    """Whether a SQLite file has tables of such a version; False where unsure."""
    with suppress(sqlite3.Error, TypeError), closing(_connect(database)) as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return knows_version(str(version))
    return False


def list_tables(database: Path) -> set[str]:
    """The tables of a SQLite file; raises sqlite3.Error."""
    with closing(_connect(database)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def find_packages() -> None:
    """Do now what MLflow does before it saves its first model: find the packages of all modules, in some seconds."""
    from mlflow.utils import requirements_utils

    requirements_utils._init_packages_to_modules_map()


def read_context_tags() -> dict[str, str]:
    """The tags that MLflow gives a run of this process: user, source, git commit."""
    from mlflow.tracking.context.registry import resolve_tags

    return dict(resolve_tags())


def correct_git_context(correct: Callable[[Mapping[str, str]], Mapping[str, str]]) -> None:
    """Let MLflow's own calls in this process, as Model.log, say of the git repository what `correct` leaves of it.

    It gets the tags by name, and gives those to be replaced; "" takes one away.
    """
    from mlflow.tracking.context import registry
    from mlflow.tracking.context.git_context import GitRunContext

    for provider in registry._run_context_provider_registry:
        if isinstance(provider, GitRunContext):
            found = {name: value for name, value in provider._git_info.items() if value}
            provider._cache["git_info"] = {name: value for name, value in {**found, **correct(found)}.items() if value}


def load_application(uri: str, folder: Path, hosts: str) -> tuple[Any, Any]:
    """MLflow's web application on the store at `uri`, which answers to these names alone and keeps files in `folder`.

    The second is the Flask application within it, which gives out the pages. Both read the environment as they are
    imported, by the variables in which `mlflow server` tells its workers where runs and files are: `ps` shows no URI.
    """
    from mlflow.server import constants

    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: uri,
        constants.ARTIFACT_ROOT_ENV_VAR: (folder / "mlruns").as_posix(),
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: (folder / "mlartifacts").as_posix(),
        "MLFLOW_SERVER_ALLOWED_HOSTS": hosts,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # no page of ours asks for a job
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "false",  # it refuses what another web page sends here
    }
    with warnings.catch_warnings(action="ignore"):  # between MLflow and Starlette; nobody here can act on them
        from mlflow.server import app as pages
        from mlflow.server.fastapi_app import app
    return app, pages


def open_artifacts(uri: str, tracking_uri: str | None = None) -> ArtifactRepository:
    """The artifacts at an address; the client would ask for their run each time."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(uri, tracking_uri=tracking_uri)


def read_artifact(uri: str, path: str, tracking_uri: str | None = None) -> bytes:
    """The content of one file of a run, from where it is or by a download of which no copy is left on this machine."""
    files = open_artifacts(uri, tracking_uri)
    if here := getattr(files, "artifact_dir", None):
        return Path(here, path).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        return Path(files.download_artifacts(path, folder)).read_bytes()


def name_step_image(name: str, step: int, milliseconds: int, run_id: str) -> str:
    """The stem of a step image's files as MLflow's grid reads it, the same at each delivery of the same image."""
    return f"{name}+step+{step}+timestamp+{milliseconds}+{run_id[:8]}-{step:05}"


def query_experiments(database: Path) -> list[tuple[int, str, str | None]]:
    """(number, name, address of its artifacts) of every experiment that is not deleted, oldest first."""
    with closing(_connect(database)) as connection:
        return connection.execute(
            "SELECT experiment_id, name, artifact_location FROM experiments WHERE lifecycle_stage = 'active' "
            "ORDER BY experiment_id"
        ).fetchall()


def query_trainings(
    database: Path, numbers: Sequence[int]
) -> tuple[list[tuple[Any, ...]], dict[str, dict[str, dict[str, Any]]]]:
    """All trainings of experiments that are not deleted, oldest first, and all that tags, params and metrics say.

    A row is (run id, number of the experiment, status, start, address); what is said is by table, run and key.
    """
    chosen = (
        "FROM runs JOIN tags AS kind ON kind.run_uuid = runs.run_uuid AND kind.key = 'kind' AND kind.value = 'train' "
        f"WHERE lifecycle_stage = 'active' AND experiment_id IN ({', '.join('?' * len(numbers))})"
    )
    said: dict[str, dict[str, dict[str, Any]]] = {"tags": {}, "params": {}, "latest_metrics": {}}
    with closing(_connect(database)) as connection:
        runs = connection.execute(
            f"SELECT runs.run_uuid, experiment_id, status, start_time, artifact_uri {chosen} ORDER BY start_time",
            numbers,
        ).fetchall()
        for table, of_runs in said.items():
            for run_id, key, value in connection.execute(
                f"SELECT run_uuid, key, value FROM {table} WHERE run_uuid IN (SELECT runs.run_uuid {chosen})", numbers
            ):
                of_runs.setdefault(run_id, {})[key] = value
    return runs, said


def query_runs(database: Path, experiment_id: str, keys: Keys) -> pd.DataFrame:
    """One raw row for each training of an experiment that is not deleted: run_id, INFO and the columns of `keys`."""
    import pandas as pd

    with closing(_connect(database)) as connection:
        found = connection.execute(
            "SELECT run_uuid, status, start_time, end_time, artifact_uri FROM tags JOIN runs USING (run_uuid) "
            "WHERE key = 'kind' AND tags.value = 'train' AND experiment_id = ? AND lifecycle_stage = 'active' "
            "ORDER BY run_uuid",
            (int(experiment_id),),
        )
        runs = pd.DataFrame(found, columns=["run_id", *INFO])
        connection.execute("CREATE TEMP TABLE chosen (run_uuid TEXT PRIMARY KEY) WITHOUT ROWID")
        connection.executemany("INSERT INTO chosen VALUES (?)", zip(runs["run_id"]))
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
    return runs


def flatten_run(run: Run, keys: Keys) -> dict[str, Any]:
    """The raw row of one run, as query_runs has it."""
    info, data = run.info, run.data
    said: Mapping[str, Mapping[str, Any]] = {"params": data.params, "tags": data.tags, "latest_metrics": data.metrics}
    values = (info.run_id, info.status, info.start_time, info.end_time, info.artifact_uri)
    return {
        **dict(zip(("run_id", *INFO), values, strict=True)),
        **{column: said[table].get(key) for table, names in keys.items() for key, column in names.items()},
    }


def query_points(database: Path, run_ids: Sequence[str], names: Sequence[str]) -> Iterator[tuple[str, str, int, float]]:
    """(run id, metric, step, value) of every point of these metrics, in batches of runs.

    The plus keeps SQLite from the primary key, by which it would read the points of all runs in the store each time.
    """
    keys = ", ".join("?" * len(names))
    with closing(_connect(database)) as connection:
        for first in range(0, len(run_ids), BATCH):
            batch = run_ids[first : first + BATCH]
            yield from connection.execute(
                "SELECT run_uuid, key, step, CASE WHEN is_nan THEN NULL ELSE value END FROM metrics "
                f"WHERE +key IN ({keys}) AND run_uuid IN ({', '.join('?' * len(batch))}) ORDER BY run_uuid, key, step",
                (*names, *batch),
            )


def query_recorded(database: Path, run_ids: Sequence[str]) -> dict[str, Recorded]:
    """What the metrics of at most BATCH runs say, as stored, by run id; "nan" where a value is not a number."""
    found: dict[str, Recorded] = {run_id: (set(), {}) for run_id in run_ids}
    chosen = f"WHERE run_uuid IN ({', '.join('?' * len(found))})"
    value = "CASE WHEN is_nan THEN 'nan' ELSE value END"
    with closing(_connect(database)) as connection:
        for run_id, *point, number in connection.execute(
            f"SELECT run_uuid, key, step, timestamp, {value} FROM metrics {chosen}", tuple(found)
        ):
            found[run_id][0].add((*point, number))
        for run_id, name, number in connection.execute(
            f"SELECT run_uuid, key, {value} FROM latest_metrics {chosen}", tuple(found)
        ):
            found[run_id][1][name] = number
    return found


def set_artifact_root(database: Path | None, experiment_id: str, run_id: str) -> None:
    """Give a local experiment and a run a folder where `mlflow ui`, started first, left it only a server's address.

    MLflow then refuses every artifact that is logged without that server. Runs that the server wrote keep their place.
    A path with a percent sign becomes an address too: MLflow would take %20 in it for a space, and write elsewhere.
    """
    if database is None:
        return
    folder = (database.parent / "mlruns" / experiment_id).as_posix()
    places = (
        ("experiments", "artifact_location", "experiment_id", int(experiment_id), folder),
        ("runs", "artifact_uri", "run_uuid", run_id, f"{folder}/{run_id}/artifacts"),
    )
    with closing(sqlite3.connect(database, timeout=TIMEOUT)) as connection, connection:
        for table, column, key, value, path in places:
            (before,) = connection.execute(f"SELECT {column} FROM {table} WHERE {key} = ?", (value,)).fetchone()
            after = path if before.startswith("mlflow-artifacts:") else before
            after = Path(after).as_uri() if after.startswith("/") and "%" in after else after
            if after != before:
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (after, value))


def list_addresses(connection: sqlite3.Connection, part: str) -> Iterator[tuple[tuple[str, str], str]]:
    """((table, column), address) of every different address of artifacts that holds `part`."""
    for table, column in ADDRESSES:
        found = connection.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {column} LIKE ?", (f"%{part}%",))
        yield from (((table, column), address) for (address,) in found.fetchall())


def replace_address(connection: sqlite3.Connection, place: tuple[str, str], old: str, new: str) -> None:
    """Write another address wherever (table, column) has the old one."""
    table, column = place
    connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, old))


def _connect(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=TIMEOUT)
