"""Find what dead processes, lost connections and other hands have left in a store and its folders, and fix it.

What is fixed is read again right before the write, so that a sweep may go on meanwhile; no run that lives is touched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial

from pipeline.study.tags import (
    ENTRY_POINT,
    FINGERPRINT,
    HOST,
    KIND,
    OUTCOME,
    PID,
    REASON,
    RESUMES,
    SOURCE_TYPE,
    WEIGHTS_SHA256,
)
from pipeline.sweep.findings import (
    Finding,
    find_changed,
    find_in_run,
    find_lost_folders,
    find_moved_folders,
    find_unreadable,
    is_lost,
    is_result,
    say_damage,
)
from pipeline.sweep.leftovers import find_checkpoints_left, find_leases_left, find_undelivered, is_held
from pipeline.tracking.files.artifacts import find_damage, find_moved
from pipeline.tracking.store import Store
from pipeline.tracking.write.resume import locate_checkpoints
from pipeline.tracking.write.survey import (
    RunRecord,
    Survey,
    delete_run,
    end_run,
    fail_run,
    lives,
    look_up_run,
    survey_store,
)

STATUS = {"finished": "FINISHED", "killed": "KILLED", "failed": "FAILED"}
PARAMETERS = {"main": "arch", "sweep": "experiment", "compare": "experiment"}
"""What tells an entry point of this project from one of another project with the same name: its parameter."""
DIED = "its process died"
UNTAKEN = "no process took up the run that `mlflow run` had made; its environment failed"


def find_faults(survey: Survey, *, deep: bool = False) -> Iterator[Finding]:
    """Everything that is wrong, in an order in which it can be fixed; raises StoreError.

    With `deep` every file and metric point of finished runs is compared with the hashes that were kept.
    """
    for find in (find_moved_folders, find_undelivered):
        if found := list(find(survey)):
            yield from found
            survey = survey_store(survey.store, survey.name)  # --fix has changed addresses, or delivered journals
    yield from find_unreadable(survey)
    yield from _find_dead(survey)
    yield from _find_untaken(survey)
    yield from _find_contradictions(survey)
    finished = [run for run in survey.runs if is_result(run) and run.run_id not in survey.undelivered]
    lost = {each.experiment_id for each in survey.experiments if is_lost(each.artifact_uri)}
    damage = find_damage(survey.store, [run for run in finished if run.experiment_id not in lost])
    if not find_moved(survey.store):
        yield from find_lost_folders(survey, lost)
    for run_id, missing in damage.items():
        yield say_damage(survey.store, run_id, missing)
    whole = [run for run in finished if run.run_id not in damage]
    if deep:
        yield from find_changed(survey.store, whole)
    yield from _find_duplicates(survey.store, whole)
    yield from find_checkpoints_left(survey, damage)
    yield from find_leases_left(survey)


def _find_dead(survey: Survey) -> Iterator[Finding]:
    """Runs that say they run, and nobody runs them."""
    for run in survey.runs:
        if run.run_id in survey.undelivered or not _is_dead(survey.store, run):
            continue
        where = f"its process {run.tags[PID]} on {run.tags[HOST]}" if PID in run.tags else "its process"
        if run.state == "running":
            more = ", which a sweep or `train --resume` goes on from" if run.is_training else ""
            problem, remedy = f"runs, but {where} died", f"ended as killed{more}"
        else:
            problem, remedy = f"{where} died before it set the status to {run.state}", "status set"
        yield find_in_run(run.run_id, problem, remedy, partial(_end_dead, survey.store, run.run_id))


def _is_dead(store: Store, run: RunRecord) -> bool:
    """Whether a run of ours should be running and is not; one that is just being resumed holds its checkpoints."""
    claims_to_run = run.status == "RUNNING" or (run.state == "running" and run.status != "FINISHED")
    if run.deleted or KIND not in run.tags or not claims_to_run or lives(store, run):
        return False
    ids = {run.run_id, run.tags.get(RESUMES, run.run_id)}
    return not any(is_held(locate_checkpoints(store, each)) for each in ids)


def _end_dead(store: Store, run_id: str) -> bool:
    """End a run whose process is dead as what the process said last."""
    run = look_up_run(store, run_id)
    if run is None or not _is_dead(store, run):
        return False
    outcome = run.state if run.state in STATUS else "killed"
    reason = run.tags[REASON] if outcome == run.state and REASON in run.tags else DIED
    end_run(store, run, outcome, reason, STATUS[outcome])
    return True


def _find_untaken(survey: Survey) -> Iterator[Finding]:
    """Runs that `mlflow run` made for an environment that failed."""
    for run in survey.runs:
        if run.run_id not in survey.undelivered and (problem := _explain_untaken(survey.store, run)):
            fix = partial(fail_run, survey.store, run.run_id, _explain_untaken)
            yield find_in_run(run.run_id, problem, "ended as failed", fix)


def _explain_untaken(store: Store, run: RunRecord) -> str:
    """UNTAKEN if nobody has written to a run of `mlflow run`, and nobody is going to; else ""."""
    is_ours = PARAMETERS.get(run.tags.get(ENTRY_POINT, "")) in run.params
    waits = run.tags.get(SOURCE_TYPE) == "PROJECT" and run.status == "RUNNING" and not run.deleted
    taken = {KIND, OUTCOME} & set(run.tags) or run.metrics
    return UNTAKEN if is_ours and waits and not taken and not lives(store, run) else ""


def _find_contradictions(survey: Survey) -> Iterator[Finding]:
    """Trainings that are FINISHED for MLflow alone."""
    for run in survey.runs:
        if run.is_training and run.status == "FINISHED" and run.tags.get(OUTCOME) != "finished":
            if run.state == "running" and lives(survey.store, run):
                continue
            said = run.tags.get(OUTCOME, "nothing")
            reason = f" ({run.tags[REASON]})" if run.tags.get(REASON) else ""
            problem = f"its status is FINISHED, its outcome says {said}{reason}"
            remedy = f"no result; train it again, then `mlflow runs delete --run-id {run.run_id}`"
            yield find_in_run(run.run_id, problem, remedy)


def _find_duplicates(store: Store, finished: list[RunRecord]) -> Iterator[Finding]:
    """Runs of a cell that a newer run has finished again; other weights are evidence, and stay."""
    groups: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for run in sorted(finished, key=lambda run: run.started):
        if FINGERPRINT in run.tags:
            groups[run.experiment_id, run.tags[FINGERPRINT]].append(run)
    for *older, newest in groups.values():
        for run in older:
            weights, others = (each.tags.get(WEIGHTS_SHA256, "unknown") for each in (run, newest))
            if weights != others or weights == "unknown":
                how = f"with other weights, sha256 {others[:12]} here {weights[:12]}"
                remedy = "kept as evidence that the training did not repeat; compare their environment.json"
                fix = None
            else:
                how = "with the same weights"
                remedy = f"deleted; `mlflow runs restore --run-id {run.run_id}` brings it back"
                fix = partial(_delete_duplicate, store, run.run_id, newest.run_id)
            problem = f"is finished again in run {newest.run_id} {how}"
            yield find_in_run(run.run_id, problem, remedy, fix)


def _delete_duplicate(store: Store, run_id: str, newest_id: str) -> bool:
    """Delete a run if the newer one is still there with the same weights."""
    run, newest = look_up_run(store, run_id), look_up_run(store, newest_id)
    if run is None or newest is None or not (is_result(run) and is_result(newest)) or run.status == "RUNNING":
        return False
    if run.tags.get(WEIGHTS_SHA256) != newest.tags.get(WEIGHTS_SHA256):
        return False
    delete_run(store, run_id)
    return True
