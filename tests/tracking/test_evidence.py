"""Evidence of a real run, carried into a store that has nothing else."""

from __future__ import annotations

import getpass
import re
import socket
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.tracking.runs import read_runs
from pipeline.tracking.store import find_experiment, open_store
from tests.conftest import SUBSET, call, copy_database, refuse, succeed
from tests.serving.pictures import draw, load_test_digits, save
from tests.tracking.carried import open_in

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def evidence(store_folder: Path, trained: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The evidence of the trained run, from a copy of the store that has nothing else."""
    own, path = tmp_path / "own", tmp_path / "evidence.zip"
    own.mkdir()
    copy_database(store_folder / "mlflow.db", own)
    store = open_in(own, monkeypatch)
    for run in store.client.search_runs([find_experiment(store, "Default")]):
        if run.info.run_id != trained[0]:
            store.client.delete_run(run.info.run_id)
    succeed("bundle", "export", "Default", str(path), "--evidence", "--seeds", "0")
    return path


def test_evidence_has_what_verdicts_need_and_names_no_machine(evidence: Path, store_folder: Path) -> None:
    with zipfile.ZipFile(evidence) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".json"))
        everything = b"".join(archive.read(name) for name in archive.namelist())
    for word in (socket.gethostname(), getpass.getuser(), "pid_started", "mlflow.user", "mlflow.source.name"):
        assert f'"{word}"'.encode() not in content
    assert str(store_folder).encode() not in everything
    for word in ("honest/test_loss", "fingerprint", "weights.sha256", "predictions.npz", "config.json"):
        assert word.encode() in content
    assert evidence.stat().st_size < 100_000


def test_imported_evidence_is_read_like_the_run_itself(
    evidence: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = open_store()
    there = read_runs(own, find_experiment(own, "Default")).set_index("variant").loc["conv2_3x3_reg"]
    store = open_in(tmp_path / "elsewhere", monkeypatch)
    first, again = (call("bundle", "import", str(evidence)).output.splitlines()[-1] for _ in range(2))
    assert first.endswith(" imported, 0 already there")
    assert again.startswith('"Default": 0 runs imported')
    runs = read_runs(store, find_experiment(store, "Default"))
    here = runs.set_index("variant").loc["conv2_3x3_reg"]
    same = ["seed", "epochs", "data_sha256", "fingerprint", "weights_sha256", "outcome", "final/honest_test_loss"]
    assert here[same].tolist() == there[same].tolist()
    assert here["evidence"] == "only"
    assert (here["started"], here["ended"]) == (there["started"], there["ended"])
    carried = tmp_path / "carried.zip"
    assert call("bundle", "export", "Default", str(carried), "--evidence").exit_code == 0
    assert carried.read_bytes() == evidence.read_bytes()


def test_commands_work_on_evidence_or_say_what_is_missing(
    evidence: Path, trained: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (there,) = re.findall("^Table sha256 .*", call("compare", "--epochs", "2", "--wide").stderr, re.M)
    open_in(tmp_path / "elsewhere", monkeypatch)
    call("bundle", "import", str(evidence))
    assert call("doctor").output.startswith("healthy: ")
    compared = call("compare", "--epochs", "2", "--wide")
    assert "TEST_LOSS" in compared.output
    assert there in compared.stderr.splitlines()
    reported = call("report", "--epochs", "2")
    assert reported.exit_code == 0
    assert "earlier version" not in reported.stderr, "evidence has hashes of its own"
    picture = tmp_path / "digit.png"
    save(draw(load_test_digits(1)[0], 100, 20), picture)
    refused = refuse("predict", str(picture), "--variant", "conv2_3x3_reg", "--experiment", "Default")
    again = "`mlflow run . --env-manager local --experiment-name Default -P arch=conv2_3x3_reg"
    assert f" came as evidence only, without its model; {again}" in refused
    assert str(SUBSET) in refused
    named = trained[0]  # as published results name it: the id that it had in its first store
    assert refuse("predict", str(picture), "--run", named).startswith(f"Error: run {named} came as evidence only, ")
    (imported,) = read_runs(open_store(), find_experiment(open_store(), "Default"))["run_id"]
    assert named != imported
    assert "Only conv2_3x3_reg seed 0 got 0 right, only" in succeed("compare", named, imported).output
    assert refuse("compare", imported, "0" * 32).startswith(f'Error: no run "{"0" * 32}" in the store; ')


def test_evidence_that_was_changed_after_its_import_is_found(
    evidence: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = open_in(tmp_path / "elsewhere", monkeypatch)
    succeed("bundle", "import", str(evidence))
    with closing(sqlite3.connect(store.database)) as connection, connection:
        connection.execute("UPDATE latest_metrics SET value = 0.5 WHERE key = 'final/test_accuracy'")
    for words in (("compare", "--epochs", "2"), ("bundle", "export", "Default", str(tmp_path / "b.zip"), "--evidence")):
        assert " is damaged: its metric points are changed" in refuse(*words)
    assert call("doctor", "--deep").exit_code == 1


def test_evidence_of_seeds_that_have_no_run_is_refused(store_uri: str, trained: object, tmp_path: Path) -> None:
    words = ("bundle", "export", "Default", str(tmp_path / "none.zip"), "--evidence", "--seeds", "77")
    assert refuse(*words) == 'Error: no finished run in "Default"; train one first\n'
    assert not (tmp_path / "none.zip").exists()
