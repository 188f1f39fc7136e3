"""Open the MLflow store: MLflow's own default in the project root, unless MLFLOW_TRACKING_URI names another."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import AbstractContextManager, chdir, closing, nullcontext, suppress
from functools import partial
from pathlib import Path

import mlflow
from alembic.util.exc import CommandError
from filelock import FileLock, Timeout
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from requests.exceptions import RequestException
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from pipeline.background import answer_within
from pipeline.errors import StoreError, StoreUnreachable, UnknownExperiment
from pipeline.plain import hide_secrets
from pipeline.private import FILE_MODE, FOLDER_MODE, make_folder, open_privately
from pipeline.tracking.mlflow_internals import make_tables
from pipeline.tracking.quick import Store as Store
from pipeline.tracking.quick import store_errors as store_errors
from pipeline.tracking.reach import await_server, check_place, explain
from pipeline.tracking.tracking_uri import find_database, read_tracking_uri
from pipeline.tracking.tracking_uri import project_root as project_root

DEFAULT_EXPERIMENT = "Default"
LOCK_SECONDS = 120
CONNECT_SECONDS = 10
FIRST_SECONDS = 30  # for a server's whole first answer: MLflow waits for each byte of it again
QUIET_LOGGERS = {
    **dict.fromkeys(("alembic", "mlflow.tracking.fluent", "mlflow.models.model"), logging.WARNING),
    # these repeat what is raised
    **dict.fromkeys(("mlflow.store.db.utils", "urllib3.connectionpool"), logging.CRITICAL),
}
GIVE_UP = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""A call to an unreachable server takes seconds; by MLflow's defaults it takes four minutes."""
STORE_ERRORS = (MlflowException, SQLAlchemyError, CommandError, sqlite3.Error, RequestException)
UNREACHABLE = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"}
SERVER_ERROR = 500
ADVISORY_KEY = 6_174_2019  # any number that all of us share


def resolve_uri() -> str:
    """The tracking URI in force; raises StoreError for one that cannot be used, or that has a password in it."""
    uri = read_tracking_uri(project_root())
    if not os.environ.get("MLFLOW_TRACKING_URI") and any(project_root().glob("mlruns/[0-9]*/meta.yaml")):
        raise StoreError(
            "mlruns/ holds runs of MLflow's old file store; run `mlflow migrate-filestore` or move it away"
        )
    return uri


def open_store() -> Store:
    """The store, with its tables made once however many processes open it together; raises StoreError."""
    for name, level in QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(level)
    for name, value in GIVE_UP.items():
        os.environ.setdefault(name, value)
    uri = resolve_uri()
    database = find_database(uri)
    if database is not None:
        check_place(database)
    await_server(uri)
    lock = _choose_lock(uri)
    try:
        with lock:
            mlflow.set_tracking_uri(uri)
            if database is not None:
                if not database.exists():
                    _make_database(database)
                _keep_private(database)
            with chdir(database.parent) if database else nullcontext():  # the client keeps ./mlruns beside the database
                client = MlflowClient(uri)
            first = partial(client.search_experiments, max_results=1)
            answer_within(FIRST_SECONDS, first) if uri.lower().startswith("http") else first()
            if database is not None:
                _use_write_ahead_log(database)
    except Timeout as error:
        raise StoreError(
            f"no lock on {error.lock_file} within {LOCK_SECONDS} s; end what holds it, or make its folder writable"
        ) from error
    except (*STORE_ERRORS, ImportError, ValueError, TimeoutError) as error:
        message = hide_secrets(f"the tracking store {uri} does not answer: {explain(error, database)}", uri)
        unreachable = database is None and isinstance(error, (*STORE_ERRORS, TimeoutError)) and is_unreachable(error)
        raise (StoreUnreachable if unreachable else StoreError)(message) from error
    return Store(uri=uri, client=client, lock=lock)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without the secrets of addresses in it."""
    return hide_secrets((str(error).splitlines() or [type(error).__name__])[0])


def is_unreachable(error: Exception) -> bool:
    """Whether the store may take the same write later: it does not answer, is locked or restarts."""
    if isinstance(error.__cause__, DBAPIError):
        return not isinstance(error.__cause__, IntegrityError)
    if isinstance(error, RequestException):
        return error.response is None or error.response.status_code >= SERVER_ERROR
    return not isinstance(error, MlflowException) or error.error_code in UNREACHABLE


def find_experiment(store: Store, name: str = "", *, create: bool = False) -> str:
    """The id of an experiment by its name, "" for the one that MLflow's environment names; raises StoreError."""
    if not name and (experiment_id := os.environ.get("MLFLOW_EXPERIMENT_ID")):
        with store_errors(store, f'refused the experiment "{experiment_id}" that MLFLOW_EXPERIMENT_ID names'):
            return _demand_active(store.client.get_experiment(experiment_id))
    name = name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT
    with store_errors(store), store.lock:
        experiment = store.client.get_experiment_by_name(name)
        if experiment is None and not create:
            raise UnknownExperiment(name, [found.name for found in store.client.search_experiments()])
        return _demand_active(experiment) if experiment else str(store.client.create_experiment(name))


def _demand_active(experiment: Experiment) -> str:
    """The id of an experiment; raises StoreError for one that is deleted."""
    if experiment.lifecycle_stage != "active":
        raise StoreError(
            f'the experiment "{experiment.name}" is deleted; bring it back with `mlflow experiments restore '
            f"--experiment-id {experiment.experiment_id}`, or start afresh under another name"
        )
    return str(experiment.experiment_id)


def _choose_lock(uri: str) -> AbstractContextManager[object]:
    """What keeps processes apart that open this store for the first time; a server sees to that itself."""
    if database := find_database(uri):
        return FileLock(database.with_name(f".{database.name}.lock"), LOCK_SECONDS, mode=FILE_MODE)
    return _AdvisoryLock(uri) if uri.startswith("postgresql") else nullcontext()


class _AdvisoryLock(AbstractContextManager[object]):
    """PostgreSQL's own lock: released with its connection, also when the process dies."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __enter__(self) -> None:
        engine = create_engine(self.uri, poolclass=NullPool, connect_args={"connect_timeout": CONNECT_SECONDS})
        self.connection = engine.connect()
        self.connection.execute(text(f"SET lock_timeout = '{LOCK_SECONDS}s'"))
        self.connection.execute(text(f"SELECT pg_advisory_lock({ADVISORY_KEY})"))

    def __exit__(self, *_: object) -> None:
        self.connection.close()


def _make_database(database: Path) -> None:
    """Make the tables in a file of another name, so that the database is there whole or not at all.

    MLflow cannot go on with tables that a killed process has half made.
    """
    unfinished = database.with_name(f".{database.name}.unfinished")
    for path in (unfinished, unfinished.with_name(f"{unfinished.name}-journal")):
        path.unlink(missing_ok=True)
    os.close(open_privately(str(unfinished), os.O_CREAT))
    make_tables(unfinished)
    unfinished.replace(database)


def _keep_private(database: Path) -> None:
    """Let a new store be its owner's alone, also one that `mlflow run` has just made; a later chmod stays.

    The folder of a store that nobody has used is missing, or as a clone has it: with a README.md and the umask's mode.
    """
    folder = database.parent / "mlruns"
    with suppress(PermissionError):  # another user's store, or a folder that is read alone
        if not folder.exists() or (folder.is_dir() and {path.name for path in folder.iterdir()} == {"README.md"}):
            database.chmod(database.stat().st_mode & FILE_MODE)
            make_folder(folder)
            folder.chmod(folder.stat().st_mode & FOLDER_MODE)


def _use_write_ahead_log(database: Path) -> None:
    """Let readers and a writer work at once; the mode stays with the file."""
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
