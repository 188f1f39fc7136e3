"""The project under `mlflow run`, in a copy of its own, with its real launcher."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tests.conftest import SUBSET, Start, call, enter

TRAIN = ("python", "-m", "pipeline", "train", "--data=tests/mnist-subset.npz", "--epochs=500")
LAUNCH = ("mlflow", "run", ".", "--env-manager", "local", "-P", "data=tests/mnist-subset.npz", "-P", "epochs=500")


def read_only_run(project: Path) -> tuple[MlflowClient, Run]:
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    (run,) = client.search_runs(["0"])
    return client, run


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    pytest.fail(f"ended before it printed {text!r}:\n{seen}")


@pytest.mark.slow
def test_smoke_passes_through_the_launcher(project: Path, start: Start) -> None:
    output, _ = start("mlflow", "run", ".", "-e", "smoke", "--env-manager", "local").communicate(timeout=600)
    assert "smoke passed: every artifact is there" in output
    client, run = read_only_run(project)
    assert (run.info.status, run.data.tags["outcome"]) == ("FINISHED", "finished")
    assert run.info.run_name == "conv2_3x3-s0"
    assert len(client.get_metric_history(run.info.run_id, "test/loss")) == 2


BAD = [
    ("arch=nope", '"nope" is not a variant; choose one of conv2_3x3'),
    ("epochs=0", "Invalid value for '--epochs': 0 is not in the range"),
    ("arch=a'; touch executed; $(touch executed) `touch executed`", "is not a variant; choose one of"),
    ("batch_size=64", "No such option"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("parameter", "reason"), BAD)
def test_a_bad_parameter_fails_the_run_with_the_reason(
    project: Path, start: Start, parameter: str, reason: str
) -> None:
    process = start("mlflow", "run", ".", "--env-manager", "local", "-P", parameter)
    output, _ = process.communicate(timeout=600)
    assert process.returncode != 0
    assert "Traceback" not in output
    assert sum(line.startswith("Error: ") for line in output.splitlines()) == 1
    _, run = read_only_run(project)
    assert (run.info.status, run.data.tags["outcome"]) == ("FAILED", "failed")
    assert reason in run.data.tags["outcome.reason"]
    assert not (project / "executed").exists()
    assert "kind" not in run.data.tags  # no training began


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_run_as_killed_with_whole_epochs(project: Path, start: Start, number: signal.Signals) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("these tests run under nohup, whose programs ignore it")
    process = start(*TRAIN)
    output = wait_for(process, "epoch   1/500")
    process.send_signal(number)
    rest, _ = process.communicate(timeout=600)
    assert process.returncode == 128 + number
    assert "Traceback" not in output + rest
    client, run = read_only_run(project)
    assert (run.info.status, run.data.tags["outcome"]) == ("KILLED", "killed")
    assert run.data.tags["outcome.reason"] == number.name
    histories = [client.get_metric_history(run.info.run_id, name) for name in run.data.metrics]
    assert len({tuple(point.step for point in history) for history in histories}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_under_the_launcher_leaves_no_orphan(project: Path, start: Start, times: int) -> None:
    process = start(*LAUNCH)
    wait_for(process, "epoch   1/500")
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=600)
    assert process.returncode != 0
    _, run = read_only_run(project)
    assert run.data.tags["outcome"] == "killed"
    assert run.info.status in ("KILLED", "FAILED")  # the launcher may write FAILED over it
    assert not is_alive(run)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_training_does_not_outlive_its_launcher(project: Path, start: Start, number: signal.Signals) -> None:
    process = start(*LAUNCH)
    wait_for(process, "epoch   1/500")
    process.send_signal(number)
    process.communicate(timeout=600)
    deadline = time.monotonic() + 120
    while is_alive(read_only_run(project)[1]) and time.monotonic() < deadline:
        time.sleep(0.2)
    _, run = read_only_run(project)
    assert (run.info.status, run.data.tags["outcome"]) == ("KILLED", "killed")
    assert not is_alive(run)


def is_alive(run: Run) -> bool:
    return Path(f"/proc/{run.data.tags['pid']}").exists()


def test_a_corrupt_data_file_fails_the_run_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)
    (tmp_path / "broken.npz").write_bytes(SUBSET.read_bytes()[:100_000])
    result = call("train", "--data=broken.npz")
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith("Error: broken.npz is damaged or not an image set")
    _, run = read_only_run(tmp_path)
    assert (run.info.status, run.data.tags["outcome"]) == ("FAILED", "failed")
    assert run.data.tags["outcome.reason"].startswith("broken.npz is damaged")


@pytest.mark.slow
def test_plain_mlflow_ui_started_first_does_not_break_training(project: Path, start: Start) -> None:
    server = start("mlflow", "ui", "--port", "0", "--workers", "1", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    deadline = time.monotonic() + 90
    while not (project / "mlflow.db").exists() or not default_experiment(project):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert default_experiment(project).startswith("mlflow-artifacts:")
    process = start("python", "-m", "pipeline", "train", "--data=tests/mnist-subset.npz", "--epochs=1", "--subset=600")
    output, _ = process.communicate(timeout=600)
    os.killpg(server.pid, signal.SIGTERM)
    server.communicate(timeout=600)
    assert process.returncode == 0, output
    client, run = read_only_run(project)
    assert client.list_artifacts(run.info.run_id, "figures")
    assert run.info.artifact_uri.startswith(str(project / "mlruns"))


def default_experiment(project: Path) -> str:
    with closing(sqlite3.connect(project / "mlflow.db", timeout=20)) as connection:
        try:
            row = connection.execute("SELECT artifact_location FROM experiments WHERE experiment_id = 0").fetchone()
        except sqlite3.OperationalError:
            return ""
    return str(row[0]) if row else ""


@pytest.mark.slow
def test_a_killed_run_is_resumed_through_the_launcher(project: Path, start: Start) -> None:
    options = ("--data=tests/mnist-subset.npz", "--epochs=3", "--subset=600")
    start("python", "-m", "pipeline", "train", *options, FAULT="checkpoint-safe:2:kill").communicate(timeout=600)
    client, run = read_only_run(project)
    assert (run.info.status, run.data.metrics["train/loss"] > 0) == ("RUNNING", True)
    process = start("mlflow", "run", ".", "--env-manager", "local", "-P", f"resume={run.info.run_id}")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    launched, resumed = sorted(client.search_runs(["0"]), key=lambda found: found.info.run_id == run.info.run_id)
    assert (launched.info.status, launched.data.tags["resumes"]) == ("FINISHED", resumed.info.run_id)
    assert (resumed.info.status, resumed.data.tags["attempt"]) == ("FINISHED", "2")
    assert [point.step for point in client.get_metric_history(resumed.info.run_id, "train/loss")] == [1, 2, 3]
    assert client.list_artifacts(resumed.info.run_id, "figures")

    again = start("mlflow", "run", ".", "--env-manager", "local", "-P", f"resume={run.info.run_id}")
    again.communicate(timeout=600)
    reasons = [found.data.tags["outcome.reason"] for found in client.search_runs(["0"], "status = 'FAILED'")]
    assert reasons == [f"run {run.info.run_id} has finished; there is nothing to resume"]
