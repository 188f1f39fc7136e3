"""Take up the run that MLFLOW_RUN_ID names: only one that is there, RUNNING and untouched, and by one process alone."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mlflow.entities import Run, RunTag

from pipeline.errors import CellTaken, StoreError, StoreUnreachable
from pipeline.study.tags import KIND, OUTCOME
from pipeline.tracking.process import hold_lease
from pipeline.tracking.store import STORE_ERRORS, Store, first_line, is_unreachable, store_errors

ADVICE = "unset MLFLOW_RUN_ID, and a run of its own is made"


def adopt_run(store: Store, tags: Mapping[str, str]) -> str:
    """The launcher's run, marked as taken by these tags (with KIND and OUTCOME); "" where there is none.

    Raises StoreError, and has written nothing, for a run that is not there, has ended, or that somebody has used.
    """
    run_id = os.environ.get("MLFLOW_RUN_ID", "")
    if not run_id:
        return ""
    run = find_untouched(store, run_id)
    try:
        with hold_lease(store, run.info.experiment_id, run_id):
            find_untouched(store, run_id)  # of two that start at once, the second sees the first's tags here
            with store_errors(store, f"refused to let the run {run_id} be taken up"):
                store.client.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.items()])
    except CellTaken:
        raise StoreError(f"MLFLOW_RUN_ID names the run {run_id}, which another process takes up; {ADVICE}") from None
    os.environ.pop("MLFLOW_RUN_ID", None)
    return run_id


def find_untouched(store: Store, run_id: str) -> Run:
    """The run with this id if it is RUNNING and nobody has used it; raises StoreError."""
    try:
        run = store.client.get_run(run_id)
    except STORE_ERRORS as error:
        if is_unreachable(error):
            raise StoreUnreachable(f"the tracking store did not answer: {first_line(error)}") from error
        raise StoreError(f'MLFLOW_RUN_ID is "{run_id}", and the store has no such run; {ADVICE}') from error
    if run.info.lifecycle_stage != "active":
        reason = "is deleted"
    elif run.info.status != "RUNNING":
        reason = f"has ended ({run.info.status})"
    elif {KIND, OUTCOME} & set(run.data.tags) or run.data.metrics:
        reason = "is in use already"
    else:
        return run
    raise StoreError(f"MLFLOW_RUN_ID names the run {run_id}, which {reason}; {ADVICE}")
