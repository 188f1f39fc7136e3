from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.sweep.estimate import estimate_epoch
from pipeline.sweep.paces import read_paces
from pipeline.tracking.store import open_store
from tests.conftest import call, execute, write_study
from tests.tracking.planted import plant_run, plant_study


def test_runs_of_every_experiment_time_the_machine(
    empty: Path, unprobed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_study(empty / "tiny.toml", seeds=range(2), epochs=2)
    last = call("plan", str(path)).output.splitlines()[-1]
    assert last.endswith(", judging by some seconds of conv2_3x3: no training like these has finished on this machine")
    plant_study(open_store(), "first", ("conv2_3x3",), range(1))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "second")
    plant_run(open_store(), "conv2_3x3_reg", 0)
    execute(empty / "mlflow.db", "UPDATE runs SET end_time = start_time + 1500 WHERE end_time IS NOT NULL")
    paces = read_paces(open_store())
    assert sorted(paces["outcome"]) == ["finished"] * 3  # one was interrupted before it had a time
    assert set(paces["host"]) == {socket.gethostname()}
    assert ((paces["seconds"] > 0) & (paces["seconds"] < 60)).all()  # from start to end
    variant = find_variant("conv2_3x3")
    small, large = (estimate_epoch(variant, Settings(subset=size), paces) for size in (600, 6000))
    assert small == pytest.approx(0.5, rel=0.1)  # what plant_run says that an epoch took
    assert large == pytest.approx(10 * small)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    assert call("plan", str(path), "--workers", "1").output.splitlines()[-1].startswith("time left: about 2 s with")
