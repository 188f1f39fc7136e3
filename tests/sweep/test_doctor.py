"""What the doctor finds in a real store, what --fix does about it, and what it leaves alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from pipeline.sweep.doctor import PARAMETERS
from pipeline.tracking.process import identify_process
from pipeline.tracking.store import Store, find_experiment, open_store
from pipeline.tracking.write.resume import locate_checkpoints
from tests.conftest import ROOT, enter
from tests.sweep.sick import (
    OLD,
    check_fixed,
    check_left,
    diagnose,
    plant,
    plant_launched,
    plant_running,
    read_end,
    set_tags,
)

TRAINING = """
import sys, time
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.tracking.write.recorder import record_run
from pipeline.tracking.store import open_store
with record_run(open_store(), find_variant("conv2_3x3"), Settings()) as recorder:
    print(recorder.run_id, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def training(study: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has a run open."""
    process = subprocess.Popen([sys.executable, "-c", TRAINING], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_run_whose_process_was_killed_is_ended_and_a_live_one_left(
    store: Store, study: str, training: subprocess.Popen[str]
) -> None:
    run_id = training.stdout.readline().strip()
    check_left(study, 1)
    assert read_end(store, run_id) == ("RUNNING", "running", "")
    os.kill(training.pid, signal.SIGKILL)
    training.wait()
    here = identify_process()["host"]
    check_fixed(
        study,
        f"run {run_id}: runs, but its process {training.pid} on {here} died",
        "ended as killed, which a sweep or `train --resume` goes on from",
    )
    assert read_end(store, run_id) == ("KILLED", "killed", "its process died")
    run = store.client.get_run(run_id)
    heartbeat = datetime.fromisoformat(run.data.tags["heartbeat"]).timestamp() * 1000
    assert run.info.end_time == max(heartbeat, run.info.start_time)


def test_a_run_that_died_between_its_outcome_and_its_status_gets_the_status(
    store: Store, study: str, dead: dict[str, str]
) -> None:
    run_id = plant(store, dead)
    store.client.update_run(run_id, status="RUNNING")
    problem = f"run {run_id}: its process {dead['pid']} on {dead['host']} died before it set the status to finished"
    check_fixed(study, problem, "status set")
    assert read_end(store, run_id) == ("FINISHED", "finished", "completed")


def test_a_run_that_the_launcher_called_failed_is_still_killed(store: Store, study: str, dead: dict[str, str]) -> None:
    run_id = plant_running(store, dead)
    store.client.set_terminated(run_id, "FAILED")
    assert diagnose(study, "--fix")[1][-1] == "1 found, 1 fixed"
    assert read_end(store, run_id) == ("KILLED", "killed", "its process died")


def test_of_another_host_the_heartbeat_counts(store: Store, study: str, dead: dict[str, str]) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    run_id = plant_running(store, {**dead, "host": "elsewhere", "heartbeat": now})
    check_left(study, 1)
    set_tags(store, run_id, heartbeat=OLD)
    assert diagnose(study, "--fix")[1][0].startswith(f"run {run_id}: runs, but its process {dead['pid']} on elsewhere")
    assert read_end(store, run_id)[0] == "KILLED"


def test_a_run_that_is_just_being_resumed_is_left(store: Store, study: str, dead: dict[str, str]) -> None:
    checkpoints = locate_checkpoints(store, plant_running(store, dead))
    checkpoints.mkdir(parents=True)
    with FileLock(checkpoints / ".lock"):
        check_left(study, 1)
    assert diagnose(study)[0] == 1


def test_a_launchers_run_lives_as_long_as_the_run_that_it_resumes(
    store: Store, study: str, dead: dict[str, str]
) -> None:
    target = plant_running(store, identify_process())
    launched = plant_launched(store, study, hours=2, kind="resume", resumes=target)
    check_left(study, 2)
    set_tags(store, target, **dead)
    assert diagnose(study, "--fix")[1][-1] == "2 found, 2 fixed"
    assert read_end(store, launched) == ("KILLED", "killed", "its process died")


def test_a_run_of_a_failed_environment_is_ended_after_an_hour(store: Store, study: str) -> None:
    run_id = plant_launched(store, study, hours=2)
    young = plant_launched(store, study, hours=0)
    local = plant_launched(store, study, hours=2, **{"mlflow.source.type": "LOCAL"})
    foreign = plant_launched(store, study, hours=2, parameter="model")
    reason = "no process took up the run that `mlflow run` had made; its environment failed"
    check_fixed(study, f"run {run_id}: {reason}", "ended as failed")
    assert read_end(store, run_id) == ("FAILED", "failed", reason)
    assert {read_end(store, left) for left in (young, local, foreign)} == {("RUNNING", "", "")}


def test_a_launchers_run_is_left_while_a_process_has_it(store: Store, study: str) -> None:
    run_id = plant_launched(store, study, hours=2)
    process = subprocess.Popen(["sleep", "600"], env={**os.environ, "MLFLOW_RUN_ID": run_id})
    try:
        check_left(study, 1)
    finally:
        process.kill()
        process.wait()
    assert diagnose(study)[0] == 1


def test_an_older_run_of_the_same_cell_is_deleted_and_can_come_back(
    store: Store, study: str, dead: dict[str, str]
) -> None:
    same = {"fingerprint": "f1", "weights__sha256": "a" * 64}
    older, newest = plant(store, dead, **same), plant(store, dead, **same)
    plant(store, dead, fingerprint="f2", weights__sha256="a" * 64)
    check_fixed(
        study,
        f"run {older}: is finished again in run {newest} with the same weights",
        f"deleted; `mlflow runs restore --run-id {older}` brings it back",
    )
    assert store.client.get_run(older).info.lifecycle_stage == "deleted"
    store.client.restore_run(older)
    assert diagnose(study)[0] == 1


def test_duplicates_with_other_weights_are_evidence(store: Store, study: str, dead: dict[str, str]) -> None:
    older = plant(store, dead, fingerprint="f1", weights__sha256="a" * 64)
    newest = plant(store, dead, fingerprint="f1", weights__sha256="b" * 64)
    for options in ((), ("--fix",)):
        assert diagnose(study, *options) == (
            1,
            [
                f"run {older}: is finished again in run {newest} with other weights, sha256 bbbbbbbbbbbb here "
                "aaaaaaaaaaaa; not fixed: kept as evidence that the training did not repeat; compare their "
                "environment.json",
                "1 found, 0 fixed",
            ],
        )
    assert store.client.get_run(older).info.lifecycle_stage == "active"


def drop_figure(store: Store, run_id: str) -> None:
    (Path(store.client.get_run(run_id).info.artifact_uri) / "figures" / "loss.png").unlink()


def find_model(store: Store, run_id: str) -> tuple[str, Path]:
    experiment_id = store.client.get_run(run_id).info.experiment_id
    (model,) = store.client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    return model.model_id, Path(model.artifact_location)


@pytest.mark.parametrize(
    ("damage", "missing"),
    [
        (drop_figure, "figures/loss.png"),
        (lambda store, run: store.client.delete_logged_model(find_model(store, run)[0]), "its model (none was logged)"),
        (
            lambda store, run: store.client.finalize_logged_model(find_model(store, run)[0], "FAILED"),
            "its model (FAILED)",
        ),
        (lambda store, run: (find_model(store, run)[1] / "MLmodel").unlink(), "its model (without files)"),
    ],
    ids=["figure", "no-model", "failed-model", "empty-model"],
)
def test_a_finished_training_that_misses_something_is_failed(
    store: Store, study: str, dead: dict[str, str], damage: Callable[[Store, str], None], missing: str
) -> None:
    run_id = plant(store, dead, fingerprint="f1", weights__sha256="a" * 64)
    check_left(study, 1)
    damage(store, run_id)
    later = plant(store, dead, fingerprint="f1", weights__sha256="a" * 64)
    check_fixed(study, f"run {run_id}: finished without {missing}", "ended as failed, so that a sweep trains it again")
    assert read_end(store, run_id) == ("FAILED", "failed", f"lacks {missing}")
    assert read_end(store, later)[0] == "FINISHED"


def test_a_damaged_run_is_no_reason_to_delete_a_whole_one(store: Store, study: str, dead: dict[str, str]) -> None:
    same = {"fingerprint": "f1", "weights__sha256": "a" * 64}
    older, newest = plant(store, dead, **same), plant(store, dead, **same)
    drop_figure(store, newest)
    assert diagnose(study, "--fix")[1][-1] == "1 found, 1 fixed"
    assert store.client.get_run(older).info.lifecycle_stage == "active"


def test_a_folder_that_was_moved_ends_no_run(store: Store, study: str, dead: dict[str, str], folder: Path) -> None:
    run_id = plant(store, dead)
    place = folder / "mlruns" / find_experiment(store, study)
    place.rename(folder / "moved")
    line = (
        f"experiment {study}: its folder {place} is gone, with 1 results; "
        "not fixed: put it back where it was, or delete the experiment"
    )
    assert diagnose(study, "--fix") == (1, [line, "1 found, 0 fixed"])
    (folder / "moved").rename(place)
    assert read_end(store, run_id)[0] == "FINISHED"
    check_left(study, 1)


def test_a_run_that_only_its_status_calls_finished_is_told(store: Store, study: str, dead: dict[str, str]) -> None:
    run_id = plant(store, dead, outcome="failed", outcome__reason="no digits")
    line = (
        f"run {run_id}: its status is FINISHED, its outcome says failed (no digits); "
        f"not fixed: no result; train it again, then `mlflow runs delete --run-id {run_id}`"
    )
    assert diagnose(study, "--fix") == (1, [line, "1 found, 0 fixed"])


def test_the_parameters_that_tell_this_project_are_its_own() -> None:
    entries = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
    assert all(parameter in entries[entry]["parameters"] for entry, parameter in PARAMETERS.items())


def test_a_moved_project_folder_is_followed(
    dead: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, moved = tmp_path / "former", tmp_path / "moved"
    former.mkdir()
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "moving")
    enter(former, monkeypatch)
    plant(open_store(), dead)
    monkeypatch.chdir(tmp_path)
    former.rename(moved)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{moved / 'mlflow.db'}")
    problem = f"folder {former}: it was moved, and 4 addresses in the store still name it"
    check_fixed("moving", problem, "they name the folder of the store")
    assert not former.exists()
