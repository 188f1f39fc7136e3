"""The run that a process writes to: the one that MLFLOW_RUN_ID names, if it is RUNNING and untouched, or a new one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping

from mlflow.entities import Run, RunTag

from pipeline.errors import CellTaken, StoreError, StoreUnreachable
from pipeline.faults import fault_point
from pipeline.study.tags import KIND, OUTCOME, REQUEST
from pipeline.tracking.mlflow_internals import read_context_tags
from pipeline.tracking.process import hold_lease
from pipeline.tracking.provenance import correct_tags
from pipeline.tracking.reach import explain
from pipeline.tracking.store import STORE_ERRORS, Store, find_experiment, first_line, is_unreachable, store_errors

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


def create_run(store: Store, name: str, experiment_id: str, begun: Mapping[str, str]) -> str:
    """A new run with the tags of how it has begun, where nothing else is said in the experiment the environment names.

    The tags come with the run: a process that is killed right afterwards leaves one of which `doctor` knows whose it
    was. Exactly one, although an answer may be lost and MLflow then asks again: the request has an id to find it by.
    """
    request = uuid.uuid4().hex
    experiment_id = experiment_id or find_experiment(store, create=True)
    context = read_context_tags()
    tags = {**context, **correct_tags(context), **begun, REQUEST: request}
    lost: Exception | None = None
    try:
        store.client.create_run(experiment_id, run_name=name, tags={key: value for key, value in tags.items() if value})
        fault_point("run-created")
    except STORE_ERRORS as error:
        if not is_unreachable(error):
            raise StoreError(f"the tracking store refused a new run: {first_line(error)}") from error
        lost = error  # the answer alone, perhaps
    try:
        made = store.client.search_runs([experiment_id], f"tags.`{REQUEST}` = '{request}'", order_by=["run_id"])
        for ghost in made[1:]:
            store.client.delete_run(ghost.info.run_id)
        if made:
            return str(made[0].info.run_id)
    except STORE_ERRORS as error:
        lost = lost or error
    reason = explain(lost, store.database) if lost else "it does not know the run that it has just made"
    raise StoreUnreachable(f"the tracking store is unreachable: {reason}; start again when it answers") from lost
