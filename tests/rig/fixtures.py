"""One PostgreSQL and one `mlflow server` on it for the whole test session: starting them is what takes long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rig.postgres import PostgreSQL
from tests.rig.proxy import Proxy
from tests.rig.server import Server


@pytest.fixture(scope="session")
def installed() -> Iterator[PostgreSQL]:
    """The session's PostgreSQL; use `postgres`, which looks after it."""
    postgres = PostgreSQL()
    try:
        yield postgres
    finally:
        postgres.remove()


@pytest.fixture
def postgres(installed: PostgreSQL) -> PostgreSQL:
    """A running PostgreSQL, started again if the last test left it dead."""
    if installed.process is None or installed.process.poll() is not None:
        installed.start()
    return installed


@pytest.fixture(scope="session")
def served(installed: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The session's `mlflow server`; use `server`, which looks after it."""
    server = Server(installed.create_database("mlflow"), tmp_path_factory.mktemp("server"))
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def server(postgres: PostgreSQL, served: Server) -> Server:
    """A running `mlflow server` on PostgreSQL, started again if the last test left it dead."""
    if served.process is None or served.process.poll() is not None:
        served.start()
    return served


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """A proxy before the server."""
    proxy = Proxy(server.port)
    try:
        yield proxy
    finally:
        proxy.close()
