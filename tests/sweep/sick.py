"""Runs as dead and living processes leave them, and what the doctor says of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlflow.entities import RunTag

from pipeline.plain import count
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.tracking.files.artifacts import ARTIFACTS
from pipeline.tracking.store import Store, find_experiment
from pipeline.tracking.write.recorder import record_run
from pipeline.tracking.write.resume import locate_checkpoints
from tests.conftest import call

OLD = "2026-01-02T03:04:05+00:00"


def set_tags(store: Store, run_id: str, **tags: str) -> None:
    store.client.log_batch(run_id, tags=[RunTag(name.replace("__", "."), value) for name, value in tags.items()])


def plant(store: Store, process: dict[str, str], *, whole: bool = True, **tags: str) -> str:
    """A training of this process that has finished, then said to be of another one."""
    with record_run(store, find_variant("conv2_3x3"), Settings()) as recorder:
        pass
    if whole:
        complete(store, recorder.run_id)
    set_tags(store, recorder.run_id, **process, **tags)
    return recorder.run_id


def plant_running(store: Store, process: dict[str, str], **tags: str) -> str:
    """A training that has not ended."""
    run_id = plant(store, process, whole=False, outcome="running", outcome__reason="", **tags)
    store.client.update_run(run_id, status="RUNNING")
    return run_id


def complete(store: Store, run_id: str) -> None:
    """Give a run every artifact by its name, and a model."""
    run = store.client.get_run(run_id)
    for name in ARTIFACTS:
        path = Path(run.info.artifact_uri) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    model = store.client.create_logged_model(run.info.experiment_id, "model", run_id)
    (Path(model.artifact_location) / "data").mkdir(parents=True)
    for name in ("MLmodel", "data/model.keras"):
        (Path(model.artifact_location) / name).touch()
    store.client.finalize_logged_model(model.model_id, "READY")


def read_end(store: Store, run_id: str) -> tuple[str, str, str]:
    """(status, outcome, reason) of a run."""
    run = store.client.get_run(run_id)
    return run.info.status, run.data.tags.get("outcome", ""), run.data.tags.get("outcome.reason", "")


def diagnose(study: str, *options: str) -> tuple[int, list[str]]:
    """(exit code, lines) of the command."""
    result = call("doctor", study, *options)
    assert result.stderr == ""
    return result.exit_code, result.output.splitlines()


def check_fixed(study: str, problem: str, remedy: str) -> None:
    """One finding is told, fixed, and gone."""
    assert diagnose(study) == (1, [f"{problem}; with --fix: {remedy}", "1 found, 0 fixed"])
    assert diagnose(study, "--fix") == (0, [f"{problem}; fixed: {remedy}", "1 found, 1 fixed"])
    code, lines = diagnose(study, "--fix")
    assert (code, lines[0].partition(":")[0]) == (0, "healthy")


def check_left(study: str, runs: int) -> None:
    """Nothing is found, and --fix has nothing to do."""
    assert diagnose(study, "--fix") == (0, [f"healthy: {count(runs, 'run')} checked"])


def plant_launched(store: Store, study: str, *, hours: int, parameter: str = "arch", **tags: str) -> str:
    """A run as `mlflow run` makes it before it builds an environment."""
    began = datetime.now(UTC) - timedelta(hours=hours)
    experiment_id = find_experiment(store, study)
    made = {"mlflow.source.type": "PROJECT", "mlflow.project.entryPoint": "main"}
    run = store.client.create_run(experiment_id, int(began.timestamp() * 1000), tags={**made, **tags})
    store.client.log_param(run.info.run_id, parameter, "conv2_3x3")
    return str(run.info.run_id)


def make_checkpoints(store: Store, run_id: str, *, half: bool = False) -> Path:
    """A folder with a checkpoint, and half of the next one."""
    folder = locate_checkpoints(store, run_id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "epoch-00001.checkpoint").write_bytes(b"whole")
    if half:
        (folder / "epoch-00002.unfinished").write_bytes(b"ha")
    return folder
