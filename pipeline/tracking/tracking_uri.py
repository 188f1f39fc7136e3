"""The address of the store: read at one place, absolute from there on, and shown without what is secret in it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from pipeline.errors import StoreError
from pipeline.plain import hide_secrets

HOST_AND_PORT = re.compile(r"[\w.-]+:\d+(/.*)?")


def project_root() -> Path:
    """The folder of MLproject: where `mlflow run .` and `mlflow ui` are typed; else the current folder."""
    source = Path(__file__).resolve().parents[2]
    return source if (source / "MLproject").is_file() else Path.cwd()


def read_tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, else the default store in the folder `root`; raises StoreError if it is not valid.

    A relative path to a SQLite file starts at the current folder, which is another one in a sweep's processes: so it is
    made absolute here, and nobody else reads the variable.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not uri:
        return name_database(root / "mlflow.db")
    try:
        parts = urlsplit(uri)
        if HOST_AND_PORT.fullmatch(uri):
            raise StoreError(f'MLFLOW_TRACKING_URI is "{uri}", without a scheme; write http://{uri}')
        if parts.scheme.lower() in ("http", "https"):
            if hide_secrets(uri) == uri:
                return uri
            raise StoreError(  # MLflow would print it
                "MLFLOW_TRACKING_URI holds a password or token; take it out and set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        return _make_absolute(uri) if uri.startswith("sqlite") else uri
    except (ValueError, ArgumentError) as error:
        raise StoreError(f"MLFLOW_TRACKING_URI is not a valid address ({hide_secrets(str(error))}); fix it") from error


def name_database(path: Path, query: str = "") -> str:
    """The address of a SQLite file, whatever its path holds; `query` as it stands after the question mark.

    Only what SQLAlchemy would take for something else is quoted, with the driver in the scheme: of an address that
    starts with sqlite:/// MLflow makes the folder as it stands there, so it would leave an empty "what%3F".
    """
    address = path.as_posix()
    scheme = "sqlite"
    if make_url(f"sqlite:///{address}").database != address:
        scheme, address = "sqlite+pysqlite", address.replace("%", "%25").replace("?", "%3F")
    return f"{scheme}:///{address}{'?' if query else ''}{query}"


def find_database(uri: str) -> Path | None:
    """The file of a SQLite address, None for any other."""
    return Path(make_url(uri).database or "") if uri.startswith(("sqlite:", "sqlite+pysqlite:")) else None


def _make_absolute(uri: str) -> str:
    """A SQLite address with the whole path; raises StoreError where it names no file, ValueError or ArgumentError."""
    url = make_url(uri)
    if url.database in (None, "", ":memory:") or url.host or str(url.database).startswith("file:"):
        raise StoreError(f'MLFLOW_TRACKING_URI "{uri}" names no file; write sqlite:////whole/path/of/mlflow.db')
    query = urlencode({name: list(values) for name, values in url.normalized_query.items()}, doseq=True)
    return name_database(Path(str(url.database)).absolute(), query)
