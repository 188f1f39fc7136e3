"""What a store says of its runs and of the processes that wrote them, and the few writes that put it right."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psutil
from mlflow.entities import Run, RunTag
from mlflow.exceptions import MlflowException

from pipeline.plain import escape_controls
from pipeline.study.tags import HEARTBEAT, OUTCOME, PID, REASON, RESUMES
from pipeline.tracking.process import LIMIT, is_alive, read_leases
from pipeline.tracking.quick import NEVER, ExperimentRecord, find_journals
from pipeline.tracking.quick import RunRecord as RunRecord
from pipeline.tracking.runs import read_pages
from pipeline.tracking.store import Store, find_experiment, store_errors
from pipeline.tracking.values import read_lease, read_milliseconds, read_moment

START_LIMIT = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was read of a store at one moment; `name` is the one experiment it is about, "" for all of them.

    `runs` has those that are not deleted, `undelivered` the ids of the runs with a journal on this machine.
    """

    store: Store
    name: str
    experiments: Sequence[ExperimentRecord]
    runs: Sequence[RunRecord]
    undelivered: Collection[str]


def survey_store(store: Store, name: str = "") -> Survey:
    """Read an experiment, or all that are not deleted, with their runs; raises StoreError."""
    chosen = find_experiment(store, name) if name else ""
    with store_errors(store):
        experiments = [
            ExperimentRecord(
                experiment_id=each.experiment_id,
                name=escape_controls(each.name),
                tags=each.tags,
                artifact_uri=each.artifact_location,
            )
            for each in sorted(read_pages(store.client.search_experiments), key=lambda each: int(each.experiment_id))
            if chosen in ("", each.experiment_id)
        ]
        ids = [experiment.experiment_id for experiment in experiments]
        runs = [_record(run) for run in read_pages(store.client.search_runs, ids, order_by=["start_time"])]
    return Survey(store=store, name=name, experiments=experiments, runs=runs, undelivered=set(find_journals(store)))


def look_up_run(store: Store, run_id: str) -> RunRecord | None:
    """The run as it is now, deleted or not; None where the store has none. Raises StoreError."""
    with store_errors(store):
        try:
            return _record(store.client.get_run(run_id))
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise


def lives(store: Store, run: RunRecord) -> bool:
    """Whether a process still works on a run, as far as can be told from here.

    A run that only points to the one it resumes lives with that. A run that says nothing of its process is alive in its
    first hour, and as long as a process of this machine was started for it.
    """
    if PID in run.tags:
        return is_alive(run.tags)
    if datetime.now(UTC) - run.started < START_LIMIT or _is_carried(run.run_id):
        return True
    target = look_up_run(store, run.tags[RESUMES]) if RESUMES in run.tags else None
    return target is not None and target.state == "running" and PID in target.tags and is_alive(target.tags)


def end_run(store: Store, run: RunRecord, outcome: str, reason: str, status: str) -> None:
    """End a run for its process, at the moment of its last heartbeat; raises StoreError."""
    last = read_moment(run.tags.get(HEARTBEAT)) or run.started
    tags = [RunTag(OUTCOME, outcome), RunTag(REASON, reason)]
    with store_errors(store):
        store.client.log_batch(run.run_id, tags=tags)
        store.client.set_terminated(run.run_id, status, int(max(last, run.started).timestamp() * 1000))


def fail_run(store: Store, run_id: str, explain: Callable[[Store, RunRecord], str]) -> bool:
    """End a run as failed with the reason that is found now; False where there is none any more. Raises StoreError."""
    run = look_up_run(store, run_id)
    if run is None or not (reason := explain(store, run)):
        return False
    end_run(store, run, "failed", reason, "FAILED")
    return True


def delete_run(store: Store, run_id: str) -> None:
    """Delete a run so that `mlflow runs restore` can bring it back; raises StoreError."""
    with store_errors(store):
        store.client.delete_run(run_id)


def find_leases(experiment: ExperimentRecord) -> dict[str, Mapping[str, str]]:
    """The leases of dead processes, by their tag's name."""
    return {key: lease for key, lease in read_leases(experiment.tags).items() if not is_alive(lease, LIMIT)}


def drop_lease(store: Store, experiment_id: str, key: str) -> bool:
    """Remove the lease of a dead process; False if it shows life after all. Raises StoreError."""
    with store_errors(store):
        tags = store.client.get_experiment(experiment_id).tags
        alive = key in tags and is_alive(read_lease(tags[key]), LIMIT)
        if key in tags and not alive:
            store.client.delete_experiment_tag(experiment_id, key)
    return not alive


def _record(run: Run) -> RunRecord:
    return RunRecord(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        status=run.info.status,
        started=read_milliseconds(run.info.start_time) or NEVER,
        deleted=run.info.lifecycle_stage != "active",
        artifact_uri=run.info.artifact_uri,
        tags={name: escape_controls(text) for name, text in run.data.tags.items()},
        params={name: escape_controls(text) for name, text in run.data.params.items()},
        metrics=run.data.metrics,
    )


def _is_carried(run_id: str) -> bool:
    """Whether a process of this machine was started with the run that `mlflow run` had made for it."""
    processes = psutil.process_iter(["environ"])  # None for another user's
    return any((process.info["environ"] or {}).get("MLFLOW_RUN_ID") == run_id for process in processes)
