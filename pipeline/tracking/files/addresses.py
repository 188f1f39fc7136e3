"""Find artifacts again after a project folder was moved: a SQLite store has the whole path of each in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pipeline.tracking.files.artifacts import locate_artifacts
from pipeline.tracking.mlflow_internals import list_addresses, replace_address
from pipeline.tracking.store import Store

ROOT = "/mlruns/"


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A former project folder, of which `count` addresses in the store lead nowhere; what they name is here now."""

    folder: Path
    count: int


def find_moved(store: Store) -> list[Moved]:
    """The former places of this store's artifacts, by name."""
    if store.database is None:
        return []
    with closing(sqlite3.connect(store.database, timeout=20)) as connection:
        found = list(_find_stale(connection, store.database.resolve().parent))
    counts = {folder: sum(other == folder for other, *_ in found) for folder in {folder for folder, *_ in found}}
    return [Moved(folder=folder, count=count) for folder, count in sorted(counts.items())]


def fix_moved_artifacts(store: Store) -> int:
    """Let every address below a former project folder name this one, in one transaction; how many were changed."""
    if store.database is None:
        return 0
    root = store.database.resolve().parent
    with closing(sqlite3.connect(store.database, timeout=20, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")  # what is read is what is changed
        with connection:
            stale = list(_find_stale(connection, root))
            for _, place, old, new in stale:
                replace_address(connection, place, old, new)
    return len(stale)


def _find_stale(connection: sqlite3.Connection, root: Path) -> Iterator[tuple[Path, tuple[str, str], str, str]]:
    """(former project folder, (table, column), address, what it should be) of each address that leads nowhere.

    What it named is below `root` now. Where the former folder itself is gone, that settles it for its other addresses
    too: a run without files has no folder, and would make the old one again.
    """
    places: dict[Path, list[tuple[tuple[str, str], str, Path]]] = {}
    for where, address in list_addresses(connection, ROOT):
        path = locate_artifacts(address)
        if path is None or not path.is_absolute():
            continue
        former, _, inside = path.as_posix().rpartition(ROOT)
        places.setdefault(Path(former), []).append((where, address, root / "mlruns" / inside))
    for folder, addresses in sorted(places.items()):
        gone = not folder.exists() and any(new.exists() for *_, new in addresses)
        for place, address, new in addresses:
            old = locate_artifacts(address)
            if gone or (old is not None and not old.exists() and new.exists()):
                yield folder, place, address, name_folder(new, address)


def name_folder(folder: Path, like: str) -> str:
    """A folder as the address `like` names another; MLflow undoes percent signs in a plain path too."""
    path = folder.as_posix()
    return folder.as_uri() if like.startswith("file:") or "%" in path else path
