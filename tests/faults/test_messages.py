"""Stores that cannot be used: one line says why and what to do, and nobody waits in silence."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pipeline.errors import StoreError, StoreUnreachable
from pipeline.tracking import reach
from pipeline.tracking.store import find_experiment, open_store
from pipeline.tracking.write.adoption import create_run
from tests.conftest import SUBSET, execute, make_empty_store, refuse, run_python


def test_a_deleted_experiment_says_how_it_comes_back(store_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store()
    experiment_id = find_experiment(store, "deleted", create=True)
    store.client.delete_experiment(experiment_id)
    remedy = f"bring it back with `mlflow experiments restore --experiment-id {experiment_id}`, or start afresh under"
    for name, value in (("MLFLOW_EXPERIMENT_NAME", "deleted"), ("MLFLOW_EXPERIMENT_ID", experiment_id)):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert f'the experiment "deleted" is deleted; {remedy}' in refuse("train", "--data", str(SUBSET))


def test_a_server_that_never_answers_is_waited_for_aloud_and_shortly(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reach, "SECONDS", 0.5)
    monkeypatch.setattr(reach, "QUIET_SECONDS", 0.1)
    with socket.socket() as silent, caplog.at_level(logging.WARNING):
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(StoreUnreachable, match=rf"{uri} does not answer \(no answer within 0.5 s\); start it, or"):
            open_store()
    assert f"waiting for the tracking server {uri}" in caplog.text


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n"


@pytest.mark.parametrize("whole", [b"", HEAD + b"\r\n"], ids=["head", "body"])
def test_a_server_that_drips_is_given_up(whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes well within the patience for one, and the head or the body never comes whole."""
    assert reach.SECONDS <= 10
    monkeypatch.setattr(reach, "SECONDS", 1)
    monkeypatch.setattr("pipeline.tracking.store.FIRST_SECONDS", 1)
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        with closing(connection), suppress(OSError):
            connection.recv(4096)
            connection.sendall(whole)
            for byte in b"x" * 9999 if whole else HEAD:
                connection.sendall(bytes([byte]))
                if ended.wait(0.2):
                    return
            ended.wait()

    def serve(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(StoreUnreachable, match=r"does not answer.*no answer within 1 s"):
            open_store()
        ended.set()
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"root:x:0:0:root:/root:/bin/bash\n" * 300,
            "is not a SQLite database; set MLFLOW_TRACKING_URI to the file of a",
        ),
        (None, "is the database of another program; set MLFLOW_TRACKING_URI to the file of a store, or to a new one"),
        ("folder", "is not a regular file; set MLFLOW_TRACKING_URI to"),
        ("pipe", "is not a regular file; set MLFLOW_TRACKING_URI to"),
    ],
)
def test_a_file_that_is_not_a_store_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | str | None, said: str
) -> None:
    """An address with a slip in it must not make /etc/passwd or the database of a browser private."""
    file = tmp_path / "other"
    if content is None:
        execute(file, "CREATE TABLE cookies (name TEXT)")
    elif isinstance(content, bytes):
        file.write_bytes(content)
    else:
        file.mkdir() if content == "folder" else os.mkfifo(file)
    file.chmod(0o755)
    before = file.stat()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
    with pytest.raises(StoreError, match=said):
        open_store()
    assert (file.stat().st_mode, file.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "uri", ["databricks", "databricks://profile", "databricks-uc", "./mlruns", "s3://a/b", "ftp://a"]
)
def test_a_store_of_another_kind_is_refused_at_once(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(StoreError, match="is not supported; use an `mlflow server`, PostgreSQL or a SQLite file"):
        open_store()


def test_a_store_of_a_newer_mlflow_says_so(empty: Path) -> None:
    (empty / "mlflow.db").write_bytes(make_empty_store())
    execute(empty / "mlflow.db", "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    said = refuse("status")
    assert "a newer MLflow than the 3." in said
    assert "pip install --upgrade mlflow" in said
    assert "db upgrade" not in said


@pytest.mark.slow
def test_a_database_that_another_program_holds_is_named(empty: Path) -> None:
    open_store()
    database = empty / "mlflow.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        done = run_python(empty, "-m", "pipeline", "train", f"--data={SUBSET}")
    assert done.returncode in (1, 74)
    assert f"another program holds {database} (locked); close it" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_database_that_is_held_just_when_a_run_is_made_is_named(empty: Path) -> None:
    store = open_store()
    with closing(sqlite3.connect(empty / "mlflow.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnreachable, match=r"another program holds .*mlflow\.db \(locked\); close it"):
            create_run(store, "name", "0", {})


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody makes a file")
def test_a_folder_in_which_no_file_can_be_made_is_refused_at_once_also_to_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////proc/mlflow.db")
    with pytest.raises(StoreError, match=r"^cannot write /proc/mlflow\.db; make its folder writable or set"):
        open_store()
