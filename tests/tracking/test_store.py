from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.errors import StoreError, StoreUnreachable, UnknownExperiment
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.tracking.store import find_experiment, open_store, resolve_uri
from pipeline.tracking.write.recorder import record_run
from tests.conftest import ROOT

OPEN = "from pipeline.tracking.store import *; print(find_experiment(open_store(), 'study', create=True))"


@pytest.mark.slow
def test_processes_that_open_it_together_make_it_once(tmp_path: Path) -> None:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}", "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN], env=environment, cwd=tmp_path, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    assert [process.communicate(timeout=120)[0].split()[-1] for process in processes] == [b"1"] * 4
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT count(*) FROM experiments WHERE name = 'study'").fetchone() == (1,)


def test_artifacts_have_a_place_where_the_ui_was_started_first(store_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store()
    experiment_id = store.client.create_experiment("made-by-ui", artifact_location="mlflow-artifacts:/1")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment_id)
    written_by_server = store.client.create_run(experiment_id)
    with record_run(store, find_variant("conv2_3x3"), Settings()) as recorder:
        store.client.log_text(recorder.run_id, "kept", "text.txt")
    assert [file.path for file in store.client.list_artifacts(recorder.run_id)] == ["text.txt"]
    assert store.client.get_experiment(experiment_id).artifact_location.endswith(f"/mlruns/{experiment_id}")
    untouched = store.client.get_run(written_by_server.info.run_id).info.artifact_uri
    assert untouched.startswith("mlflow-artifacts:")


def test_an_unknown_experiment_is_told_which_there_are(store_uri: str) -> None:
    assert str(UnknownExperiment("nowhere", [])) == 'no experiment "nowhere" in the store; it has none'
    with pytest.raises(StoreError, match=r'no experiment "nowhere" in the store; it has .*Default'):
        find_experiment(open_store(), "nowhere")


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("http://me:secret@127.0.0.1:9", "MLFLOW_TRACKING_URI holds a password"),
        ("HTTP://token@127.0.0.1:9", "MLFLOW_TRACKING_URI holds a password or token"),
        ("http://127.0.0.1:9/?private_token=secret", "MLFLOW_TRACKING_URI holds a password or token"),
        ("http://[secret", "MLFLOW_TRACKING_URI is not a valid address"),
        ("127.0.0.1:5000", 'MLFLOW_TRACKING_URI is "127.0.0.1:5000", without a scheme; write http://127.0.0.1:5000'),
        ("localhost:5000", "write http://localhost:5000"),
        ("sqlite://", "names no file; write sqlite:////whole/path/of/mlflow.db"),
        ("sqlite:///:memory:", "names no file"),
        ("nosuchdb://127.0.0.1/x?password=secret", "is not supported; use"),
        ("nosuchdb://me:secret@127.0.0.1/x", "is not supported; use"),
        ("mysql+nodriver://me:secret@127.0.0.1/x?password=secret", "does not answer"),
        ("http://127.0.0.1:9", "the tracking store http://127.0.0.1:9 does not answer"),
        ("sqlite:////proc/nowhere/mlflow.db", "there is no folder /proc/nowhere; make it"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line(
    uri: str, complaint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StoreError) as caught:
        open_store()
    assert complaint in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "postgresql+psycopg://me@127.0.0.1:9/x"])
def test_a_server_that_is_away_is_told_from_one_that_cannot_be(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StoreUnreachable):  # which a sweep tries again
        open_store()


def test_a_network_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disks = [SimpleNamespace(mountpoint="/", fstype="ext4"), SimpleNamespace(mountpoint=str(tmp_path), fstype="nfs4")]
    monkeypatch.setattr("pipeline.tracking.reach.psutil.disk_partitions", lambda all: disks)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(StoreError, match=r"is on a network share \(nfs4\), where SQLite's locks do not hold"):
        open_store()
    assert not (tmp_path / "mlflow.db").exists()


def test_a_lock_that_another_process_keeps_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setattr("pipeline.tracking.store.LOCK_SECONDS", 0.2)
    path = str(tmp_path / ".mlflow.db.lock")
    hold = f"import filelock; lock = filelock.FileLock({path!r}); lock.acquire(); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        with pytest.raises(StoreError, match=r"^no lock on .*\.mlflow\.db\.lock within 0\.2 s; end what holds it"):
            open_store()
        holder.kill()


def test_the_default_store_is_mlflows_own_in_the_project_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_uri() == f"sqlite:///{ROOT / 'mlflow.db'}"


def test_artifacts_are_kept_beside_the_database_whatever_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    store = open_store()
    experiment = store.client.get_experiment(find_experiment(store, "study", create=True))
    assert experiment.artifact_location == str(tmp_path / "mlruns" / experiment.experiment_id)
    assert Path.cwd() == tmp_path / "elsewhere"
