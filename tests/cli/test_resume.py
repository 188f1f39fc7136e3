"""A run that was interrupted goes on: what is refused, and one resume in this process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from mlflow.tracking import MlflowClient

from pipeline.errors import ResumeError, RunKilled
from pipeline.study.settings import Settings
from pipeline.tracking.process import identify_process
from pipeline.tracking.store import open_store
from pipeline.tracking.write.recorder import Recorder
from pipeline.tracking.write.resume import ResumedRecorder, find_resumable, locate_checkpoints, resume_run
from pipeline.workflows.train import _ViolinImages
from tests.conftest import SUBSET, call, entered, read_run_id, refuse

OPTIONS = ("--arch", "conv2_3x3_reg", "--epochs", "2", "--data", str(SUBSET))
Histories = dict[str, list[tuple[int, int, float]]]


@pytest.fixture(scope="module")
def interrupted(store_folder: Path) -> str:
    """The id of a run that ended between the checkpoint of its first epoch and the store."""
    with entered(store_folder) as patch:
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "interrupted")  # which the resume is not told
        patch.setattr(Recorder, "end_epoch", interrupt)
        result = call("train", *OPTIONS)
    assert result.exit_code == 128 + 15, result.output
    return read_run_id(result.output)


def interrupt(*_arguments: object) -> None:
    raise RunKilled(15)


@pytest.fixture(scope="module")
def resumed(interrupted: str, store_folder: Path) -> tuple[str, str, Result]:
    """(run id, id of the launcher's run, result) of resuming it under a launcher that gives every default too."""
    with entered(store_folder) as patch:
        launched = open_store().client.create_run("0").info.run_id
        patch.setenv("MLFLOW_RUN_ID", launched)
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
        patch.setattr("pipeline.workflows.train.draw_figures", lambda *_: [])  # half of the time, and no more to see
        result = call("train", "--arch=conv2_3x3", "--epochs=25", "--threads=2", f"--resume={interrupted}")
    return interrupted, launched, result


def read_histories(client: MlflowClient, run_id: str) -> Histories:
    return {
        name: [(point.step, point.timestamp, point.value) for point in client.get_metric_history(run_id, name)]
        for name in client.get_run(run_id).data.metrics
    }


def drop_times(histories: Histories) -> dict[str, list[tuple[int, float]]]:
    kept = {name: points for name, points in histories.items() if not name.endswith("_seconds")}
    return {name: [(step, value) for step, _, value in points] for name, points in kept.items()}


def test_a_resumed_run_is_the_undisturbed_one(
    client: MlflowClient, resumed: tuple[str, str, Result], trained: tuple[str, str]
) -> None:
    run_id, _, result = resumed
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == f"conv2_3x3_reg, seed 0, 2 epochs; resumes run {run_id}"
    assert lines[2] == "continues after epoch 1 of 2"
    assert lines[3].startswith("epoch 2/2 ")
    assert lines[-2:] == trained[1].splitlines()[-2:]
    histories = read_histories(client, run_id)
    assert drop_times(histories) == drop_times(read_histories(client, trained[0]))
    assert {len(points) for points in histories.values()} == {1, 2}
    assert histories["test/loss"][0][1] < client.get_run(resumed[1]).info.start_time < histories["test/loss"][1][1]


def test_a_resumed_run_is_whole_and_counts_its_attempts(
    client: MlflowClient, resumed: tuple[str, str, Result], trained: tuple[str, str]
) -> None:
    run = client.get_run(resumed[0])
    assert (run.info.status, run.data.tags["outcome"], run.data.tags["attempt"]) == ("FINISHED", "finished", "2")
    assert client.get_run(trained[0]).data.tags["attempt"] == "1"
    assert run.data.params["epochs"] == "2"
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    assert [model.status for model in models] == ["READY"]
    steps = [file.path.split("+")[2] for file in client.list_artifacts(resumed[0], "images")]
    assert sorted(steps) == ["0", "0", "1", "1", "2", "2"]  # each with its preview
    assert not locate_checkpoints(open_store(), resumed[0]).exists()
    assert not locate_checkpoints(open_store(), trained[0]).exists()


def test_the_launchers_run_points_to_the_resumed_one(client: MlflowClient, resumed: tuple[str, str, Result]) -> None:
    run = client.get_run(resumed[1])
    assert (run.info.status, run.data.tags["outcome"]) == ("FINISHED", "finished")
    assert (run.data.tags["kind"], run.data.tags["resumes"]) == ("resume", resumed[0])
    assert run.data.tags["outcome.reason"] == f"resumed run {resumed[0]}"


def plant(client: MlflowClient, status: str = "FAILED", **tags: str) -> str:
    """A run with these tags and a file that looks like a checkpoint."""
    run_id = str(client.create_run("0", tags={"kind": "train", **tags}).info.run_id)
    client.update_run(run_id, status)
    folder = locate_checkpoints(open_store(), run_id)
    folder.mkdir(parents=True)
    (folder / "epoch-00001.checkpoint").touch()
    return run_id


ALIVE = {"outcome": "running", **identify_process(), "heartbeat": "2020-01-01T00:00:00+00:00"}
REFUSALS: dict[str, tuple[Callable[[MlflowClient], str], str]] = {
    "unknown": (lambda client: "0" * 32, f'cannot resume "{"0" * 32}": Run with id={"0" * 32} not found'),
    "no id": (lambda client: "../mlflow.db", 'cannot resume "../mlflow.db": '),
    "finished": (lambda client: plant(client, "FINISHED"), "run ID has finished; there is nothing to resume"),
    "other kind": (lambda client: plant(client, kind="resume", resumes="x"), "run ID is not a training; it resumed x"),
    "alive": (
        lambda client: plant(client, "RUNNING", **ALIVE),
        f"run ID is still alive: process {os.getpid()} on {ALIVE['host']}; let it end or stop it",
    ),
    "alive elsewhere": (
        lambda client: plant(client, "RUNNING", **{**ALIVE, "host": "far", "heartbeat": "2999-01-01T00:00:00+00:00"}),
        f"run ID is still alive: process {os.getpid()} on far; let it end or stop it",
    ),
    "no config": (plant, "run ID has no config.json to go on with; train it again"),
}
DEAD: dict[str, Mapping[str, str]] = {
    "ended": {**ALIVE, "outcome": "killed"},
    "other process": {**ALIVE, "pid_started": "1.00"},
    "no process": {**ALIVE, "pid": str(2**22)},
    "other boot": {**ALIVE, "boot_id": "before"},
    "silent elsewhere": {**ALIVE, "host": "far"},
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_run_that_cannot_go_on_is_refused_in_one_line(client: MlflowClient, case: str) -> None:
    make, reason = REFUSALS[case]
    run_id = make(client)
    assert refuse("train", "--resume", run_id).startswith(f"Error: {reason.replace('ID', run_id)}")


def test_a_deleted_run_and_one_without_a_checkpoint_are_refused(client: MlflowClient) -> None:
    run_id = plant(client)
    shutil.rmtree(locate_checkpoints(open_store(), run_id))
    line = f"Error: run {run_id} has no checkpoint on this machine; train it again\n"
    assert refuse("train", "--resume", run_id) == line
    client.delete_run(run_id)
    line = f"Error: run {run_id} is deleted; restore it with `mlflow runs restore`\n"
    assert refuse("train", "--resume", run_id) == line


@pytest.mark.parametrize("case", DEAD)
def test_a_run_whose_process_is_dead_can_go_on(client: MlflowClient, case: str) -> None:
    run_id = plant(client, "RUNNING", **DEAD[case])
    with pytest.raises(ResumeError, match=r"has no config\.json"):  # which only a run that could go on is asked for
        find_resumable(open_store(), run_id)


@pytest.fixture
def damaged(client: MlflowClient) -> Iterator[str]:
    """A run with its config, and a file in place of its checkpoint."""
    run_id = plant(client)
    settings = {"epochs": 4, "batch-size": 128, "seed": 0, "subset": 600, "normalization": "l2", "threads": 2}
    client.log_dict(run_id, {"arch": "conv3_3x3", "data": str(SUBSET), **settings}, "config.json")
    yield run_id
    assert "attempt" not in client.get_run(run_id).data.tags  # a refused resume leaves the run alone


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--epochs=5", "has --epochs 4, not 5; leave --epochs out beside --resume"),
        ("--batch-size=64", "has --batch-size 128, not 64; leave --batch-size out beside --resume"),
        ("--arch=conv7_3x3", "has --arch conv3_3x3, not conv7_3x3; leave --arch out beside --resume"),
        ("--epochs=4", "has no usable checkpoint: epoch-00001.checkpoint is not a checkpoint of this program; "),
    ],
)
def test_another_option_or_no_usable_checkpoint_is_refused(damaged: str, option: str, reason: str) -> None:
    assert refuse("train", option, "--resume", damaged).startswith(f"Error: run {damaged} {reason}")


def test_a_run_of_another_training_is_refused_and_left_alone(client: MlflowClient) -> None:
    run_id = plant(client, fingerprint="1" * 64)
    with pytest.raises(ResumeError, match="is of another training"), resume_run(open_store(), run_id, "2" * 64):
        pass
    assert client.get_run(run_id).info.status == "FAILED"
    with resume_run(open_store(), run_id, "1" * 64) as recorder:
        assert recorder.run_id == run_id


def test_the_settings_are_the_runs_own(damaged: str) -> None:
    variant, settings = find_resumable(open_store(), damaged)
    assert (variant.name, settings) == ("conv3_3x3", Settings(epochs=4, subset=600, data=str(SUBSET)))


def test_an_epoch_that_the_store_has_is_not_logged_again(client: MlflowClient) -> None:
    run_id = plant(client)
    Recorder(open_store(), run_id).end_epoch(1, {"test/loss": 0.1 + 0.2, "time/epoch_seconds": 2.0}, 1000)
    again = ResumedRecorder(open_store(), run_id)
    again.end_epoch(1, {"test/loss": 0.1 + 0.2, "time/epoch_seconds": 3.0, "test/accuracy": 0.5}, 2000)
    assert read_histories(client, run_id) == {
        "test/loss": [(1, 1000, 0.1 + 0.2)],
        "time/epoch_seconds": [(1, 1000, 2.0)],
        "test/accuracy": [(1, 2000, 0.5)],
    }
    with pytest.raises(ResumeError, match=r"epoch 1 trained again does not repeat the test/loss that run"):
        again.end_epoch(1, {"test/loss": 0.3}, 3000)


def test_a_step_image_that_the_store_has_is_not_logged_again(client: MlflowClient) -> None:
    run_id, kernels = plant(client), dict.fromkeys(("conv1", "conv2"), np.linspace(-1, 1, 20, dtype=np.float32))
    _ViolinImages(Recorder(open_store(), run_id), "conv2_3x3-s0").show_kernels(1, kernels)
    again = _ViolinImages(ResumedRecorder(open_store(), run_id), "conv2_3x3-s0")
    for epoch in (1, 2):
        again.show_kernels(epoch, kernels)
    names = [file.path for file in client.list_artifacts(run_id, "images") if file.path.endswith(".png")]
    assert sorted(name.split("+")[2] for name in names) == ["1", "2"]
