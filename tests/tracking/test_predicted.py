from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import StoreError
from pipeline.tracking.files.predicted import read_predicted, read_run
from pipeline.tracking.store import find_experiment, open_store
from tests.conftest import call, succeed
from tests.tracking.planted import plant_run


@pytest.fixture
def planted(store_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """(experiment's id, ids of runs): one with predictions of all epochs, an old one, a damaged one, one without."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "predicted")
    store = open_store()
    experiment_id = find_experiment(store, create=True)
    run_ids = [plant_run(store, "conv2_3x3", seed) for seed in range(4)]
    label = np.arange(6, dtype=np.uint8)
    old = {"label": label, "predicted": label, "log_probability": -np.ones(6, dtype=np.float32)}
    recent = {"recent": 3, "recent_wrong": label, "recent_log_probability": -np.ones(6, dtype=np.float16)}
    path = tmp_path / "predictions.npz"
    for run_id, arrays in zip(run_ids, (old | recent, old), strict=False):
        np.savez_compressed(path, **arrays)
        store.client.log_artifact(run_id, str(path))
    path.write_bytes(b"PK damaged")
    store.client.log_artifact(run_ids[2], str(path))
    return experiment_id, run_ids


def test_predictions_are_read_where_they_are_whole(planted: tuple[str, list[str]]) -> None:
    experiment_id, run_ids = planted
    found = read_predicted(open_store(), experiment_id, run_ids, everywhere=False)
    assert list(found) == run_ids[:2]
    assert (found[run_ids[0]].recent, found[run_ids[1]].recent) == (3, 0)
    assert found[run_ids[0]].measure("test_error", 3) == pytest.approx(np.arange(6) / 3)
    assert found[run_ids[1]].measure("test_error", 3) is None
    assert read_run(open_store(), run_ids[1]).label.tolist() == list(range(6))
    for run_id in run_ids[2:]:
        with pytest.raises(StoreError, match=rf"^run {run_id} has no predictions.npz that can be read; train it again"):
            read_run(open_store(), run_id)


def test_two_real_runs_are_compared_by_image(trained: tuple[str, str], store_uri: str, tmp_path: Path) -> None:
    first = trained[0]
    same = succeed("compare", first, first)
    assert "Only conv2_3x3_reg seed 0 got 0 right, only conv2_3x3_reg seed 0 got 0 right." in same.output
    assert "McNemar's exact test: p = 1.000." in same.output
    unknown = call("compare", first, "nowhere")
    assert (unknown.exit_code, unknown.output.count("\n")) == (1, 1)
