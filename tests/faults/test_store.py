"""A store that is locked, taken away or half made while a real process writes to it."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.tracking.store import find_experiment, open_store
from pipeline.tracking.write.recorder import Recorder, record_run
from pipeline.tracking.write.resume import locate_checkpoints
from pipeline.training.checkpoint import find_checkpoints
from tests.conftest import SUBSET, call, copy_database, enter, execute, read_run_id, refuse, run_python, succeed

LOCKED_SECONDS = 120  # at most; MLflow waits 20 for a lock
MORE_SECONDS = 2  # that the lock is held while the run ends
EPOCHS = 3


@pytest.mark.parametrize("deleted", ["run", "experiment"])
def test_a_run_that_is_deleted_while_it_trains_is_one_line_and_keeps_its_checkpoint(
    client: MlflowClient, undrawn: None, monkeypatch: pytest.MonkeyPatch, deleted: str
) -> None:
    experiment_id = find_experiment(open_store(), f"deleted {deleted}", create=True)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment_id)
    end_epoch = Recorder.end_epoch

    def end_and_delete(recorder: Recorder, epoch: int, *more: object) -> None:
        end_epoch(recorder, epoch, *more)  # type: ignore[arg-type]
        client.delete_run(recorder.run_id) if deleted == "run" else client.delete_experiment(experiment_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "end_epoch", end_and_delete)
        result = call("train", "--data", str(SUBSET), "--subset", "600", "--epochs", "2", "--batch-size", "300")
    run_id = read_run_id(result.output)
    assert result.exit_code == 1
    assert [line for line in result.stderr.splitlines() if line.startswith("Error: ")] == [result.stderr.strip()]
    assert "deleted" in result.stderr
    store = open_store()
    assert find_checkpoints(locate_checkpoints(store, run_id))
    if deleted == "run":
        store.client.restore_run(run_id)
        store.client.set_tag(run_id, "pid_started", "1.00")  # its process is dead, as it would be but for this test
        succeed("train", "--resume", run_id)
        assert [point.step for point in store.client.get_metric_history(run_id, "test/loss")] == [1, 2]


@pytest.mark.slow
def test_a_database_that_is_locked_for_long_loses_nothing(empty: Path) -> None:
    store = open_store()
    locked, ended = threading.Event(), threading.Event()

    def lock() -> None:
        with closing(sqlite3.connect(empty / "mlflow.db", isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            locked.set()
            ended.wait(LOCKED_SECONDS)
            connection.execute("ROLLBACK")

    thread = threading.Thread(target=lock)
    with record_run(store, find_variant("conv2_3x3"), Settings(epochs=EPOCHS)) as recorder:
        recorder.end_epoch(1, {"test/loss": 1.0}, 1000)
        thread.start()
        assert locked.wait(10)
        for epoch in range(2, EPOCHS + 1):
            recorder.end_epoch(epoch, {"test/loss": 1 / epoch}, 1000 * epoch)
        assert recorder.journal.path.is_file()  # the lock is held: the training did not wait for its end
        assert thread.is_alive()
        threading.Timer(MORE_SECONDS, ended.set).start()  # the run ends against the lock
    thread.join()
    history = store.client.get_metric_history(recorder.run_id, "test/loss")
    assert [(point.step, point.timestamp, point.value) for point in history] == [
        (epoch, 1000 * epoch, 1 / epoch) for epoch in range(1, EPOCHS + 1)
    ]
    assert store.client.get_run(recorder.run_id).info.status == "FINISHED"
    assert not recorder.journal.path.exists()


@pytest.mark.slow
def test_a_kill_while_the_tables_are_made_is_made_good(tmp_path: Path) -> None:
    done = run_python(tmp_path, "-m", "tests.faults.half_made", "0.1", "0.35", "0.6", "0.85", "0.95")
    assert done.returncode == 0, done.stderr
    outcomes = [line.split(": ")[1] for line in done.stdout.splitlines()]
    assert len(outcomes) == 5
    assert set(outcomes) <= {"opened", "opened after what the error said"}, done.stdout


def test_a_database_of_another_version_says_what_to_run(
    client: MlflowClient, tmp_path: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_database(store_folder / "mlflow.db", tmp_path)
    execute(tmp_path / "mlflow.db", "UPDATE alembic_version SET version_num = 'bd07f7e963c5'")
    enter(tmp_path, monkeypatch)
    said = refuse("compare", "Default")
    assert said.startswith(f"Error: the tracking store sqlite:///{tmp_path / 'mlflow.db'} ")
    assert "mlflow db upgrade" in said
