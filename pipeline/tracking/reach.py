"""Whether a store can be reached, asked within seconds; and what to do where it cannot be used."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sqlite3
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import mlflow
import psutil
import requests
from requests.exceptions import RequestException

from pipeline.background import answer_within
from pipeline.errors import StoreError, StoreUnreachable
from pipeline.plain import hide_secrets
from pipeline.tracking.mlflow_internals import FIRST_TABLES, knows_version, list_tables

SECONDS = 8
"""For a connection and the whole answer, also of a server that drips; MLflow itself asks for minutes."""
QUIET_SECONDS = 1.5
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "afs", "ceph", "lustre", "gluster", "beegfs", "gpfs", "fuse.sshfs")
VERSION = re.compile(r"found version (\w+)|revision identified by '(\w+)'")
logger = logging.getLogger(__name__)


def await_server(uri: str) -> None:
    """Raise StoreUnreachable unless something answers at a server's address within seconds; says what is waited for."""
    if uri.lower().startswith(DATABASES):
        return
    if not uri.lower().startswith(("http://", "https://")):
        raise StoreError(
            f'the store "{hide_secrets(uri)}" is not supported; use an `mlflow server`, PostgreSQL or a SQLite file'
        )
    notice = threading.Timer(QUIET_SECONDS, logger.warning, ("waiting for the tracking server %s", uri))
    notice.daemon = True
    notice.start()
    try:
        answer_within(SECONDS, lambda: _ask(uri))
    except (RequestException, TimeoutError, ValueError) as error:
        late = isinstance(error, (requests.Timeout, TimeoutError))
        innermost = re.split(r"Caused by |: ", str(error).rstrip(")'\""))[-1]
        reason = f"no answer within {SECONDS} s" if late else hide_secrets(innermost or type(error).__name__)
        raise StoreUnreachable(
            f"the tracking store {uri} does not answer ({reason}); start it, or set MLFLOW_TRACKING_URI to another"
        ) from error
    finally:
        notice.cancel()


def _ask(uri: str) -> None:
    """Ask a server for any answer at all, of which only the head is read."""
    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
    verify = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or not insecure
    requests.get(f"{uri.rstrip('/')}/health", timeout=SECONDS / 2, stream=True, verify=verify).close()


def check_place(database: Path) -> None:
    """Raise StoreError for a folder where SQLite cannot write, or could not be trusted to."""
    if not database.parent.is_dir():
        raise StoreError(f"there is no folder {database.parent}; make it, or set MLFLOW_TRACKING_URI to another store")
    if not _can_write(database):
        raise StoreError(f"cannot write {database}; make its folder writable or set MLFLOW_TRACKING_URI")
    _check_database(database)
    folder = database.resolve().parent
    disks = [disk for disk in psutil.disk_partitions(all=True) if folder.is_relative_to(disk.mountpoint)]
    kind = max(disks, key=lambda disk: len(disk.mountpoint)).fstype if disks else ""
    if kind.startswith(NETWORK_FILE_SYSTEMS):
        raise StoreError(
            f"{database} is on a network share ({kind}), where SQLite's locks do not hold; "
            "start an `mlflow server` and set MLFLOW_TRACKING_URI to its address"
        )


def _can_write(database: Path) -> bool:
    """Whether the file can be written, or made: permissions say little to root, so a file without a name is tried."""
    if database.exists():
        return os.access(database, os.W_OK)
    with suppress(OSError), tempfile.TemporaryFile(dir=database.parent):
        return True
    return False


def _check_database(database: Path) -> None:
    """Raise StoreError for a file that is there and not a store: it would be locked, changed and made private.

    One that is empty, or that cannot be read now, is left to SQLite to judge.
    """
    remedy = "set MLFLOW_TRACKING_URI to the file of a store, or to a new one"
    if database.exists() and not database.is_file():
        raise StoreError(f"{database} is not a regular file; {remedy}")
    tables = set()
    try:  # by SQLite alone: closing a plain file would drop this process's locks on it
        tables = list_tables(database)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
            raise StoreError(f"{database} is not a SQLite database; {remedy}") from error
    if tables and not tables & FIRST_TABLES:
        raise StoreError(f"{database} is the database of another program; {remedy}")


def explain(error: Exception, database: Path | None) -> str:
    """What is wrong with a store, in one line with the remedy where it is known; else what MLflow says."""
    text = str(error)
    if database and "locked" in text:
        return f"another program holds {database} (locked); close it, `fuser -v {database}` names it"
    found = VERSION.search(text)
    version = (found[1] or found[2]) if found else ""
    if version and not knows_version(version):
        return (
            f"a newer MLflow than the {mlflow.__version__} here has written it (its tables have version {version}); "
            "use that one: pip install --upgrade mlflow"
        )
    line = hide_secrets((text.splitlines() or [type(error).__name__])[0])
    return f"{line} ({_name_code(error)}; {_tell_space(database)})" if database and "disk" in line else line


def _name_code(error: BaseException) -> str:
    """SQLite's own name for what went wrong, as SQLITE_IOERR_WRITE, behind what MLflow and SQLAlchemy say of it."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return getattr(error, "sqlite_errorname", "SQLite gives no code")


def _tell_space(database: Path) -> str:
    with suppress(OSError):
        free = shutil.disk_usage(database.parent).free
        return f"{free / 2**20:,.0f} MiB are free in {database.parent}"
    return f"{database.parent} cannot be read"
