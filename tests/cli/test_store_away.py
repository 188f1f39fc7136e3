"""Trainings, as processes, whose store goes away: they end as one that nobody disturbed."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipeline.tracking.files.artifacts import ARTIFACTS
from tests.cli.test_mlflow_run import wait_for
from tests.conftest import ROOT, SUBSET, Start
from tests.rig.postgres import PostgreSQL
from tests.rig.proxy import Proxy
from tests.rig.server import Server

pytest_plugins = ("tests.rig.fixtures",)
pytestmark = pytest.mark.slow

Points = dict[str, list[tuple[int, float]]]
EPOCHS = 7
OPTIONS = ("--arch=conv2_3x3", f"--epochs={EPOCHS}", "--subset=600", "--threads=1", f"--data={SUBSET}")
TRAIN = ("python", "-m", "pipeline", "train", *OPTIONS)
SYNC = ("python", "-m", "pipeline", "sync")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Points, str, list[str]]:
    """What read_run says of the same training with a store that is always there."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('undisturbed') / 'mlflow.db'}"
    command = [sys.executable, *TRAIN[1:]]
    subprocess.run(command, env={**os.environ, "MLFLOW_TRACKING_URI": uri}, cwd=ROOT, check=True, capture_output=True)
    return read_run(uri, "Default")


@pytest.fixture
def experiment() -> str:
    """The name of an experiment of the test's own."""
    return f"away-{uuid.uuid4().hex}"


def read_only_run(uri: str, experiment: str) -> tuple[MlflowClient, Run]:
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return client, run


def read_run(uri: str, experiment: str) -> tuple[Points, str, list[str]]:
    """(points, weights' hash, files) of the experiment's one run, which has finished; seconds are left out."""
    client, run = read_only_run(uri, experiment)
    assert (run.info.status, run.data.tags["outcome"]) == ("FINISHED", "finished")
    run_id, names = run.info.run_id, [name for name in run.data.metrics if not name.endswith("_seconds")]
    points = {name: [(each.step, each.value) for each in client.get_metric_history(run_id, name)] for name in names}
    assert all(len(client.get_metric_history(run_id, f"time/{name}_seconds")) == EPOCHS for name in ("train", "epoch"))
    folders = ("", "figures", "images")
    files = [file.path for folder in folders for file in client.list_artifacts(run_id, folder or None)]
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")
    assert [model.status.value for model in models] == ["READY"]
    assert {"final/test_loss", "train/loss"} <= set(points)
    assert set(ARTIFACTS) <= set(files)
    kept = [path for path in files if not path.startswith(("images/", "git.diff"))]
    steps = [path.split("+")[2] for path in files if path.startswith("images/")]
    return {name: sorted(points[name]) for name in points}, run.data.tags["weights.sha256"], sorted(kept + steps)


def assert_nothing_left(project: Path) -> None:
    assert not list((project / "mlruns" / ".journal").glob("*"))
    assert not list((project / "mlruns" / ".checkpoints").glob("*"))


def test_a_server_that_is_killed_and_comes_back_has_the_whole_training(
    project: Path, start: Start, server: Server, undisturbed: object, experiment: str
) -> None:
    process = start(*TRAIN, MLFLOW_TRACKING_URI=server.uri, MLFLOW_EXPERIMENT_NAME=experiment)
    output = wait_for(process, f"epoch 2/{EPOCHS}")
    server.kill()
    output += wait_for(process, f"epoch 5/{EPOCHS}")  # it trains on
    server.start()
    output += process.communicate(timeout=600)[0]
    assert process.returncode == 0, output
    assert read_run(server.uri, experiment) == undisturbed
    assert_nothing_left(project)


def test_a_server_that_is_gone_for_good_leaves_a_run_that_sync_completes(
    project: Path, start: Start, server: Server, undisturbed: object, experiment: str
) -> None:
    surroundings = {"MLFLOW_TRACKING_URI": server.uri, "MLFLOW_EXPERIMENT_NAME": experiment}
    process = start(*TRAIN, **surroundings, PIPELINE_STORE_PATIENCE="2")
    output = wait_for(process, f"epoch 2/{EPOCHS}")
    server.kill()
    output += process.communicate(timeout=600)[0]
    assert process.returncode not in (0, 2, None), output
    assert "Traceback" not in output
    last = output.splitlines()[-1]
    assert last.startswith("Error: "), output
    assert "`python -m pipeline sync` delivers it once the store answers" in last
    server.start()
    _, run = read_only_run(server.uri, experiment)
    assert run.info.run_id in last
    assert list((project / "mlruns" / ".checkpoints" / run.info.run_id).glob("epoch-*"))
    assert [path.stem for path in project.glob("mlruns/.journal/*.jsonl")] == [run.info.run_id]
    output, _ = (synced := start(*SYNC, **surroundings)).communicate(timeout=600)
    assert synced.returncode == 0, output
    assert read_run(server.uri, experiment) == undisturbed
    assert_nothing_left(project)
    output, _ = (again := start(*SYNC, **surroundings)).communicate(timeout=600)
    assert again.returncode == 0, output
    assert read_run(server.uri, experiment) == undisturbed


def test_a_crashed_database_lost_answers_and_a_slow_network_change_nothing(
    project: Path,
    start: Start,
    server: Server,
    postgres: PostgreSQL,
    proxy: Proxy,
    undisturbed: object,
    experiment: str,
) -> None:
    proxy.delay(0.05)
    parts = ("mlflow/runs/create", "mlflow/logged-models", "config.json", "figures/loss.png", "model.keras")
    losses = [proxy.lose_answer(part) for part in (*parts, "mlflow/runs/log-inputs", "mlflow/runs/update")]
    losses += [proxy.lose_answer("mlflow/runs/log-batch", count) for count in (1, 2, 6, 9)]
    process = start(*TRAIN, MLFLOW_TRACKING_URI=proxy.uri, MLFLOW_EXPERIMENT_NAME=experiment)
    output = wait_for(process, f"epoch 2/{EPOCHS}")
    postgres.restart()
    output += wait_for(process, f"epoch 4/{EPOCHS}")
    postgres.stop(immediate=True)
    output += wait_for(process, f"epoch 6/{EPOCHS}")
    postgres.start()
    output += process.communicate(timeout=600)[0]
    assert process.returncode == 0, output
    assert [loss for loss in losses if not loss.lost] == []
    assert read_run(server.uri, experiment) == undisturbed
    assert_nothing_left(project)
