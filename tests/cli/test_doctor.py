from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.tracking.store import open_store
from tests.conftest import call
from tests.tracking.planted import plant_run


def test_a_file_names_its_experiment(store_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text('name = "examined"\nvariants = ["conv2_3x3"]\nseeds = [0]\n')
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "examined")
    store = open_store()
    run_id = plant_run(store, "conv2_3x3", 0)
    store.client.log_text(run_id, "{}", "config.json")
    result = call("doctor", str(path))
    assert result.exit_code == 1
    first, last = result.output.splitlines()
    assert first.startswith(f"run {run_id}: finished without environment.json, model_summary.txt, predictions.npz, ")
    assert first.endswith("its model (none was logged); with --fix: ended as failed, so that a sweep trains it again")
    assert last == "1 found, 0 fixed"
    assert call("doctor", str(path), "--fix").exit_code == 0
    assert call("doctor", "examined").output == "healthy: 1 run checked\n"


def test_nothing_is_wrong_with_a_real_training(trained: tuple[str, str], store_uri: str) -> None:
    assert trained[0] not in call("doctor", "Default").output
