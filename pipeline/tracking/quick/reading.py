"""A SQLite store that is only read: MLflow, whose import takes seconds, is there when its client is first asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipeline.tracking.quick import glance
from pipeline.tracking.tracking_uri import name_database

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from pipeline.tracking.store import Store


@dataclass(frozen=True)
class _Reading:
    """Stands for a tracking.store.Store, and becomes one when more than its file is asked for."""

    database: Path

    @property
    def uri(self) -> str:
        return name_database(self.database)

    @property
    def client(self) -> MlflowClient:
        return self._whole.client

    @property
    def lock(self) -> AbstractContextManager[object]:
        return self._whole.lock

    @cached_property
    def _whole(self) -> Store:
        from pipeline.tracking.store import open_store

        return open_store()


def open_to_read() -> Store:
    """The store in force, for a command that writes nothing; raises StoreError."""
    if database := glance.find_file():
        return cast("Store", _Reading(database))
    from pipeline.tracking.store import open_store

    return open_store()


def look_up_name(store: Store, name: str) -> str:
    """The id of an experiment by its name, "" where there is none."""
    if isinstance(store, _Reading):
        with store_errors(store):
            known = glance.read_experiments(store.database)
        return next((each.experiment_id for each in known if each.name == name), "")
    from pipeline.tracking.store import look_up

    return look_up(store, name)


@contextmanager
def store_errors(store: Store, what: str = "did not answer") -> Iterator[None]:
    """As tracking.store.store_errors, which is imported only for an error."""
    try:
        yield
    except Exception as error:
        from pipeline.tracking.store import store_errors as explaining

        with explaining(store, what):
            raise error
