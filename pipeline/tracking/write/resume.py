"""Take up an interrupted run: whether it can go on, what it trains, what the store lacks of it; deliver its journal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from mlflow.entities import Run

from pipeline import interrupts
from pipeline.errors import ResumeError, StoreError
from pipeline.study import tags
from pipeline.study.facts import restore_row, restore_settings
from pipeline.study.settings import Settings
from pipeline.study.variants import Variant
from pipeline.tracking.mlflow_internals import read_artifact
from pipeline.tracking.process import identify_process, is_alive
from pipeline.tracking.store import STORE_ERRORS, Store, first_line, project_root
from pipeline.tracking.values import read_count
from pipeline.tracking.write.adoption import adopt_run
from pipeline.tracking.write.journal import Journal
from pipeline.tracking.write.recorder import TAG_LIMIT, Recorder, end_with_reason
from pipeline.training.checkpoint import decode_checkpoint, find_checkpoints
from pipeline.training.observer import Epoch


class ResumedRecorder(Recorder):
    """Logs what the store does not have yet, so that each metric keeps one point an epoch."""

    def __init__(self, store: Store, run_id: str) -> None:
        super().__init__(store, run_id)
        client, call = self.client, self.call
        self.points = {
            (name, point.step): point.value
            for name in call(client.get_run, run_id).data.metrics
            for point in call(client.get_metric_history, run_id, name)
        }
        # The preview is delivered after its image, so an image with a preview is whole.
        files = call(client.list_artifacts, run_id, "images")
        self.images = {int(file.path.split("+")[2]) for file in files if file.path.endswith(".webp")}

    def resume_training(self, epochs: Sequence[Epoch], refused: Sequence[str]) -> None:
        """Log the epochs of the checkpoint that the process died too early to log, at their own time."""
        if refused:
            self.log({}, {tags.CHECKPOINT_REFUSED: "; ".join(refused)[:TAG_LIMIT]})
        for number, epoch in enumerate(epochs, start=1):
            self.end_epoch(number, *epoch)

    def log(
        self, metrics: Mapping[str, float], tags: Mapping[str, str], step: int = 0, timestamp: int | None = None
    ) -> None:
        """Log the metrics that are missing at this step; raises ResumeError if one is there with another value.

        Seconds are measured, not repeated: those that were logged first stay.
        """
        known = {name: self.points[name, step] for name in metrics if (name, step) in self.points}
        if other := [name for name in known if known[name] != metrics[name] and not name.endswith("_seconds")]:
            raise ResumeError(
                f"epoch {step} trained again does not repeat the {', '.join(other)} that run {self.run_id} has; "
                "the machine differs, train it again"
            )
        missing = {name: value for name, value in metrics.items() if name not in known}
        super().log(missing, tags, step, timestamp)


def locate_checkpoints(store: Store, run_id: str) -> Path:
    """The folder of a run's checkpoints: on this machine, beside the artifacts of the default store."""
    root = store.database.parent if store.database else project_root()
    return root / "mlruns" / ".checkpoints" / run_id


def find_resumable(store: Store, run_id: str) -> tuple[Variant, Settings]:
    """What an interrupted run trains, from its own config.json; raises ResumeError where it cannot go on."""
    try:
        run = store.client.get_run(run_id)
    except STORE_ERRORS as error:
        raise ResumeError(f'cannot resume "{run_id}": {first_line(error)}') from error
    if reason := _explain_refusal(run):
        raise ResumeError(f"run {run_id} {reason}")
    if not find_checkpoints(locate_checkpoints(store, run_id)):
        raise ResumeError(f"run {run_id} has no checkpoint on this machine; train it again")
    try:
        config = _read_config(run)
        return restore_row(config), restore_settings(config)
    except (*STORE_ERRORS, OSError, KeyError, ValueError) as error:
        raise ResumeError(f"run {run_id} has no config.json to go on with; train it again") from error


def _explain_refusal(run: Run) -> str:
    said = run.data.tags
    if said.get(tags.KIND) != "train":
        return f"is not a training; it resumed {said[tags.RESUMES]}" if tags.RESUMES in said else "is not a training"
    if run.info.lifecycle_stage != "active":
        return "is deleted; restore it with `mlflow runs restore`"
    if run.info.status == "FINISHED":
        return "has finished; there is nothing to resume"
    if said.get(tags.OUTCOME) == "running" and is_alive(said):
        return f"is still alive: process {said[tags.PID]} on {said[tags.HOST]}; let it end or stop it"
    return ""


@contextmanager
def resume_run(store: Store, run_id: str, fingerprint: str) -> Iterator[Recorder]:
    """The recorder of a run that goes on; a run that `mlflow run` has made only points to it and ends with it.

    Raises ResumeError where the run's own fingerprint is not this one: two trainings would be mixed in one run.
    """
    if store.client.get_run(run_id).data.tags.get(tags.FINGERPRINT, fingerprint) != fingerprint:
        raise ResumeError(f"run {run_id} is of another training (other data, settings or version); train it again")
    with ExitStack() as stack:
        with interrupts.shield(then_check=False):
            if launched := adopt_run(store, {tags.KIND: "resume", tags.OUTCOME: "running", tags.RESUMES: run_id}):
                stack.enter_context(end_with_reason(Recorder(store, launched), f"resumed run {run_id}"))
        interrupts.check()
        recorder = ResumedRecorder(store, run_id)
        stack.enter_context(end_with_reason(recorder))
        attempt = (read_count(recorder.call(store.client.get_run, run_id).data.tags.get(tags.ATTEMPT)) or 1) + 1
        recorder.call(store.client.update_run, run_id, status="RUNNING")
        recorder.log({}, {tags.OUTCOME: "running", tags.REASON: "", tags.ATTEMPT: str(attempt), **identify_process()})
        yield recorder


def deliver_journal(store: Store, run_id: str) -> str:
    """Deliver a run's journal; why that is not possible, "" if it was."""
    try:
        run = store.client.get_run(run_id)
        if run.data.tags.get(tags.OUTCOME) == "running" and is_alive(run.data.tags):
            return "still trained, it delivers by itself"
        if Journal(store, run_id).deliver():
            return ""
    except (*STORE_ERRORS, StoreError) as error:
        return first_line(error)
    return "the tracking store is unreachable"


def is_whole(store: Store, run_id: str) -> bool:
    """Whether a run that is not finished has all of its epochs, so that only its result is missing."""
    files = find_checkpoints(locate_checkpoints(store, run_id))
    run = store.client.get_run(run_id)
    if not files or run.info.status == "FINISHED":
        return False
    with suppress(*STORE_ERRORS, ResumeError, OSError, KeyError, ValueError, TypeError):  # `train --resume` says which
        epochs = int(_read_config(run)["epochs"])
        return len(decode_checkpoint(files[0].read_bytes()).epochs) == epochs
    return False


def _read_config(run: Run) -> dict[str, Any]:
    return dict(json.loads(read_artifact(run.info.artifact_uri, "config.json")))
