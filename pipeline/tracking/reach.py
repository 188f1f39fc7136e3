"""Whether a store can be reached, asked within seconds; and what to do where it cannot be used."""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
from contextlib import suppress
from pathlib import Path

import mlflow
import requests
from requests.exceptions import RequestException

from pipeline.errors import StoreError, StoreUnreachable
from pipeline.plain import hide_secrets
from pipeline.tracking.mlflow_internals import list_revisions

SECONDS = 4
"""For a connection, and again for an answer; MLflow itself asks for minutes."""
QUIET_SECONDS = 1.5
VERSION = re.compile(r"found version (\w+)|revision identified by '(\w+)'")
logger = logging.getLogger(__name__)


def await_server(uri: str) -> None:
    """Raise StoreUnreachable unless something answers at a server's address within seconds; says what is waited for."""
    if uri.split(":")[0].lower() in ("databricks", "databricks-uc", "uc"):
        raise StoreError(f'the store "{uri}" is not supported; use an `mlflow server`, PostgreSQL or a SQLite file')
    if not uri.lower().startswith(("http://", "https://")):
        return
    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
    verify = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or not insecure
    notice = threading.Timer(QUIET_SECONDS, logger.warning, ("waiting for the tracking server %s", uri))
    notice.daemon = True
    notice.start()
    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=SECONDS, stream=True, verify=verify).close()
    except (RequestException, ValueError) as error:
        reason = f"no answer within {SECONDS} s" if isinstance(error, requests.Timeout) else _shorten(error)
        raise StoreUnreachable(
            f"the tracking store {uri} does not answer ({reason}); start it, or set MLFLOW_TRACKING_URI to another"
        ) from error
    finally:
        notice.cancel()


def explain(error: Exception, database: Path | None) -> str:
    """What is wrong with a store, in one line with the remedy where it is known; else what MLflow says."""
    text = str(error)
    if database and "locked" in text:
        return f"another program holds {database} (locked); close it, `fuser -v {database}` names it"
    found = VERSION.search(text)
    version = (found[1] or found[2]) if found else ""
    if version and version not in list_revisions():
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
    """How much of the disk with a file is free."""
    with suppress(OSError):
        free = shutil.disk_usage(database.parent).free
        return f"{free / 2**20:,.0f} MiB are free in {database.parent}"
    return f"{database.parent} cannot be read"


def _shorten(error: Exception) -> str:
    """The innermost reason of what requests raises."""
    return hide_secrets(re.split(r"Caused by |: ", str(error).rstrip(")'\""))[-1] or type(error).__name__)
