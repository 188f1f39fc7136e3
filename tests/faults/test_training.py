"""What goes wrong inside of a training: numbers that are no longer finite, no memory, a clock that jumps."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from pipeline.tracking.process import identify_process, is_alive
from pipeline.tracking.runs import read_history, read_runs
from pipeline.tracking.store import open_store
from pipeline.tracking.write.recorder import Recorder
from pipeline.tracking.write.resume import locate_checkpoints
from pipeline.training.checkpoint import find_checkpoints
from tests.conftest import SUBSET, call, read_run_id, run_python, succeed

SHORT = ("--data", str(SUBSET), "--subset", "600", "--batch-size", "300", "--threads", "2")
HOUR = 3600
LIMITED = """
import resource, sys
from pathlib import Path
import pipeline.cli.progress, pipeline.workflows.train
from pipeline.cli.main import main
from pipeline.workflows import train
load = train.load_data
def load_in_little_memory(*words, **more):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 100 * 2**20, resource.RLIM_INFINITY))
    try:
        return load(*words, **more)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
train.load_data = load_in_little_memory
main(sys.argv[1:])
"""


pytestmark = pytest.mark.usefixtures("undrawn")


def test_weights_that_are_no_longer_finite_leave_the_last_good_checkpoint(client: MlflowClient) -> None:
    from pipeline.training import run as training

    show_images = training._Training.show_images

    def spoil_epoch_2(self: training._Training, epoch: int) -> tuple[float, float]:
        if epoch == 2:
            self.network.trainable_variables[0].assign(self.network.trainable_variables[0] * np.nan)
        return show_images(self, epoch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training._Training, "show_images", spoil_epoch_2)
        result = call("train", "--epochs=3", *SHORT)
    assert result.exit_code == 1
    reason = "the loss or a weight is no longer finite at epoch 2, batch 1"
    assert [line for line in result.stderr.splitlines() if line.startswith("Error")] == [f"Error: {reason}"]
    run_id = read_run_id(result.output)
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["outcome.reason"]) == ("FAILED", reason)
    assert [point.step for point in client.get_metric_history(run_id, "train/loss")] == [1]
    kept = find_checkpoints(locate_checkpoints(open_store(), run_id))
    assert [path.name for path in kept] == ["epoch-00001.checkpoint"]
    again = succeed("train", "--resume", run_id)
    whole = call("train", "--epochs=3", *SHORT)
    first, second = (re.findall(r"weights sha256 \w{64}", result.output) for result in (again, whole))
    assert first == second != []


@pytest.mark.slow
def test_a_training_without_memory_fails_with_the_reason(tmp_path: Path, store_uri: str) -> None:
    images, labels = np.zeros((60_000, 28, 28), np.uint8), np.arange(60_000, dtype=np.uint8) % 10
    np.savez_compressed(tmp_path / "big.npz", x_train=images, y_train=labels, x_test=images[:9], y_test=labels[:9])
    words = ("train", "--epochs=1", f"--data={tmp_path / 'big.npz'}")
    done = run_python(tmp_path, "-c", LIMITED, *words, OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 1, done.stdout
    run = open_store().client.get_run(read_run_id(done.stdout))
    assert (run.info.status, run.data.tags["outcome"]) == ("FAILED", "failed")
    assert "MemoryError: Unable to allocate" in run.data.tags["outcome.reason"]


class Jumping(datetime):
    """A clock on which some epochs happen an hour earlier or later."""

    shift = timedelta(0)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) + cls.shift


def test_a_clock_that_jumps_changes_no_order_and_no_duration(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, real_ns, end_epoch = time.time, time.time_ns, Recorder.end_epoch
    monkeypatch.setattr(time, "time", lambda: real() + Jumping.shift.total_seconds())
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(Jumping.shift.total_seconds()) * 10**9)
    monkeypatch.setattr("pipeline.tracking.process.datetime", Jumping)

    def end_and_jump(recorder: Recorder, epoch: int, *more: object) -> None:
        end_epoch(recorder, epoch, *more)  # type: ignore[arg-type]
        Jumping.shift = timedelta(seconds={1: -HOUR, 2: HOUR}.get(epoch, -HOUR))
        assert is_alive(client.get_run(recorder.run_id).data.tags)

    monkeypatch.setattr(Recorder, "end_epoch", end_and_jump)
    monkeypatch.setattr(Jumping, "shift", timedelta(0))
    result = succeed("train", "--arch=conv2_3x3", "--epochs=3", *SHORT)
    run = client.get_run(read_run_id(result.output))
    assert (run.info.status, run.data.tags["outcome"]) == ("FINISHED", "finished")
    history = read_history(open_store(), [run.info.run_id], ["test/loss"])
    assert history["epoch"].tolist() == [1, 2, 3]
    points = sorted(client.get_metric_history(run.info.run_id, "test/loss"), key=lambda point: point.step)
    moments = [point.timestamp for point in points]
    assert moments[1] < moments[0] < moments[2]  # the clock did jump
    assert run.data.metrics["test/loss"] == points[-1].value  # the last epoch's, not the latest by the clock
    for name in ("time/train_seconds", "time/epoch_seconds"):
        assert all(0 <= point.value < HOUR for point in client.get_metric_history(run.info.run_id, name))
    runs = read_runs(open_store(), run.info.experiment_id).set_index("run_id")
    assert 0 <= runs.loc[run.info.run_id, "final/epoch_seconds"] < HOUR


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_process_lives_on_though_the_clock_was_set(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    mine = identify_process()
    import psutil._pslinux as linux

    boot_time = linux.boot_time()
    monkeypatch.setattr(linux, "boot_time", lambda: boot_time + hours * HOUR)  # Linux reckons it from the clock
    assert is_alive({**mine, "outcome": "running"})
    assert not is_alive({**mine, "pid_started": "1.00"})
