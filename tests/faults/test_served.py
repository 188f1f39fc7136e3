"""A finished run whose files lie on the disk of an HTTP artifact server, and what that disk or its database spoils."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.tracking.store import open_store
from tests.conftest import SUBSET, call, execute, flip_middle, refuse, succeed
from tests.rig.server import Server

HALVE = "UPDATE metrics SET value = value / 2 WHERE run_uuid = ? AND key = 'final/test_accuracy'"


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a real `mlflow server` that serves artifacts; it is the tracking store."""
    folder, client = tmp_path / "server", tmp_path / "client"
    folder.mkdir()
    client.mkdir()
    server = Server(f"sqlite:///{folder / 'server.db'}", folder)
    monkeypatch.chdir(client)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    try:
        yield folder
    finally:
        server.kill()


@pytest.mark.slow
def test_damage_on_the_disk_of_an_artifact_server_is_named(disk: Path) -> None:
    succeed("train", f"--data={SUBSET}", "--subset=600", "--epochs=1")
    (run,) = open_store().client.search_runs(["0"])
    run_id = run.info.run_id
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    assert call("doctor", "--deep").output == "healthy: 1 run checked\n"
    for name, said in (
        ("model.keras", "model/data/model.keras"),
        ("loss.png", "figures/loss.png"),
        ("predictions.npz", "predictions.npz"),
    ):
        (file,) = (disk / "artifacts").rglob(name)
        whole = file.read_bytes()
        flip_middle(file)
        result = call("doctor", "--deep")
        assert result.exit_code == 1
        assert f"run {run_id}: finished, and since then {said} is changed; with --fix" in result.output
        assert f"run {run_id} is damaged: {said} is changed" in refuse("bundle", "export", "Default", "b.zip")
        file.write_bytes(whole)
    (file,) = (disk / "artifacts").rglob("hashes.json")
    whole = file.read_bytes()
    file.unlink()
    assert f"run {run_id}: finished, and since then hashes.json is missing" in call("doctor", "--deep").output
    file.write_bytes(whole)
    succeed("compare")
    execute(disk / "server.db", HALVE, run_id)
    assert refuse("compare").startswith(f"Error: run {run_id} is damaged: its metric points are changed; ")
