"""A PostgreSQL server in a folder of its own, for one test session."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

START_SECONDS = 60
OTHER_USERS = ("postgres", "nobody")


class PostgreSQL:
    """A server on 127.0.0.1 at a free port, with its data and its socket in a temporary folder; everybody is trusted.

    It does not sync to the disk: what it says is committed survives its own death, not that of the machine.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path may have 107 characters
        self.port = find_free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.prefix = _become_other_user(self.folder)
        self._run("initdb", "--no-sync", "-A", "trust", "-U", "study", "-E", "UTF8", "-D", str(self.folder / "data"))
        self.start()

    def uri(self, database: str) -> str:
        """The database's URI for SQLAlchemy."""
        return f"postgresql+psycopg://study@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Make an empty database; its URI."""
        with self.connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.uri(name)

    def connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        """A connection that commits each statement."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="study", dbname=database, autocommit=True, connect_timeout=5
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = ("-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=60")
        places = ("-D", str(self.folder / "data"), "-k", str(self.folder), "-p", str(self.port))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, str(find_program("postgres")), *places, *options],
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL does not start:\n{(self.folder / 'log').read_text()}")
            time.sleep(0.05)

    def stop(self, *, immediate: bool = False) -> None:
        """End it: every connection is cut; `immediate` is a crash, after which it has to recover."""
        self.process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        self.process.wait(START_SECONDS)

    def restart(self, *, immediate: bool = True) -> None:
        """Stop and start it at the same port."""
        self.stop(immediate=immediate)
        self.start()

    def remove(self) -> None:
        """Stop it and remove its folder."""
        if self.process is not None and self.process.poll() is None:
            self.stop(immediate=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs to its end."""
        command = [*self.prefix, str(find_program(program)), *arguments]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def find_program(name: str) -> Path:
    """One of PostgreSQL's programs, the newest of Debian's folders or on PATH; without it the test fails."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*"), key=lambda path: float(path.name), reverse=True)
    found = [path / "bin" / name for path in versions if (path / "bin" / name).is_file()]
    if on_path := shutil.which(name):
        found.append(Path(on_path))
    if not found:
        pytest.fail(f"these tests need PostgreSQL's `{name}`; install it, on Debian with `apt-get install postgresql`")
    return found[0]


def find_free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at, of this test process's own thousand.

    The system gives none of these to a program that asks for any port, so that it stays free for the server.
    """
    first = 10_000 + 1_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for port in random.sample(range(first, first + 1_000), 1_000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail(f"no port from {first} on is free")


def _become_other_user(folder: Path) -> list[str]:
    """What to put before a command: PostgreSQL refuses to run as root, so the folder goes to another user."""
    if os.getuid() != 0:
        return []
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = next(known[name] for name in OTHER_USERS if name in known)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return [
        *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
        *("--pdeathsig", "QUIT"),  # it ends with the tests, whatever ends them
    ]
