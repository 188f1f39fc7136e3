"""Deliver what runs left in their journals, from outside of their processes."""

from __future__ import annotations

import mlflow

from pipeline.tracking.environment import is_alive
from pipeline.tracking.journal import Journal
from pipeline.tracking.resume import locate_checkpoints
from pipeline.tracking.store import STORE_ERRORS, Store, first_line
from pipeline.training.checkpoint import decode_checkpoint, find_checkpoints


def deliver_journal(store: Store, run_id: str) -> str:
    """Deliver a run's journal; why that is not possible, "" if it was."""
    try:
        run = store.client.get_run(run_id)
        if run.data.tags.get("outcome") == "running" and is_alive(run.data.tags):
            return "still trained, it delivers by itself"
        if Journal(store, run_id).deliver():
            return ""
    except STORE_ERRORS as error:
        return first_line(error)
    return "the tracking store is away"


def is_whole(store: Store, run_id: str) -> bool:
    """Whether a run that is not finished has all of its epochs, so that only its result is missing."""
    files = find_checkpoints(locate_checkpoints(store, run_id))
    run = store.client.get_run(run_id)
    if not files or run.info.status == "FINISHED":
        return False
    epochs = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/config.json")["epochs"]
    return len(decode_checkpoint(files[0].read_bytes()).epochs) == int(epochs)
