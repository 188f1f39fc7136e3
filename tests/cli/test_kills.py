"""Real kills of real trainings, each in a process of its own; what is resumed must end as what nobody disturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.cli.test_resume import drop_times, read_histories
from tests.conftest import ROOT


def run_kills(folder: Path, *arguments: str) -> list[dict[str, object]]:
    """What tests/cli/kills.py says of each training that it has killed and resumed, in a store in `folder`."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.cli.kills", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_kills(folder: Path, cases: list[dict[str, object]]) -> None:
    """Every run but those without a checkpoint ended as the undisturbed one, the first."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    whole, *resumed = (case for case in cases if not case["refused"])
    histories = read_histories(client, str(whole["run"]))
    weights = client.get_run(str(whole["run"])).data.tags["weights.sha256"]
    assert whole["state"], "the optimiser's state is compared as well"
    for case in resumed:
        run = client.get_run(str(case["run"]))
        assert (run.data.tags["weights.sha256"], case["state"]) == (weights, whole["state"]), case
        assert drop_times(read_histories(client, run.info.run_id)) == drop_times(histories), case
        assert (run.info.status, run.data.tags["outcome"]) == ("FINISHED", "finished")
        models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
        assert [model.status for model in models] == ["READY"], case


@pytest.mark.slow
def test_a_kill_at_every_fault_point_is_made_good(tmp_path: Path) -> None:
    cases = run_kills(tmp_path, "sweep")
    assert cases[-1]["kills"] == 0  # the sweep ended because no point was left
    refused = [case["refused"] for case in cases[1:]]
    assert refused == sorted(refused, reverse=True)  # from the first checkpoint on, every run is resumable
    assert len(refused) - sum(refused) > 15
    check_kills(tmp_path, cases)


@pytest.mark.slow
def test_kills_at_random_moments_are_made_good(tmp_path: Path) -> None:
    check_kills(tmp_path, run_kills(tmp_path, "random", "6"))
