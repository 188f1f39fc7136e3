"""What a look at a store can find, and of it all that is wrong with files, their addresses, and values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline.study.tags import HOST, KIND
from pipeline.tracking.files.artifacts import find_damage, find_moved, fix_moved, is_in_reach, locate_artifacts
from pipeline.tracking.files.hashes import find_changes, warn_of_unhashed
from pipeline.tracking.frozen import FROZEN
from pipeline.tracking.quick import NEVER
from pipeline.tracking.store import Store
from pipeline.tracking.values import RESULTS, TAGS, find_bad, read_texts
from pipeline.tracking.write.survey import RunRecord, Survey, fail_run

AGAIN = "ended as failed, so that a sweep trains it again"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something wrong. `fix` does what `remedy` says and tells whether it could; without it, that is the user's."""

    subject: str
    problem: str
    remedy: str
    fix: Callable[[], bool] | None = None


def find_in_run(run_id: str, problem: str, remedy: str, fix: Callable[[], bool] | None = None) -> Finding:
    """Something wrong with a run."""
    return Finding(subject=f"run {run_id}", problem=problem, remedy=remedy, fix=fix)


def is_result(run: RunRecord) -> bool:
    """Whether it is a training that was completed."""
    return run.is_training and run.state == "finished" and not run.deleted


def find_moved_folders(survey: Survey) -> Iterator[Finding]:
    """Former places of this project's folder that the store still names."""
    for folder, count in find_moved(survey.store):
        yield Finding(
            subject=f"folder {folder}",
            problem=f"it was moved, and {count} addresses in the store still name it",
            remedy="they name the folder of the store",
            fix=partial(_fix_moved, survey.store),
        )


def _fix_moved(store: Store) -> bool:
    """Change the addresses; those of a second former folder go with the first's."""
    fix_moved(store)
    return not find_moved(store)


def is_lost(artifact_uri: str) -> bool:
    """Whether an experiment's folder is not where the store says."""
    folder = locate_artifacts(artifact_uri)
    return folder is not None and not folder.is_dir()


def find_lost_folders(survey: Survey, lost: Collection[str]) -> Iterator[Finding]:
    """Experiments with results whose whole folder is gone: moved, most likely, and nothing to end runs for."""
    results = [run for run in survey.runs if is_result(run) and is_in_reach(run.artifact_uri, run.tags.get(HOST))]
    for experiment in survey.experiments:
        number = sum(run.experiment_id == experiment.experiment_id for run in results)
        if experiment.experiment_id in lost and number:
            yield Finding(
                subject=f"experiment {experiment.name}",
                problem=f"its folder {locate_artifacts(experiment.artifact_uri)} is gone, with {number} results",
                remedy="put it back where it was, or delete the experiment",
            )


def say_damage(store: Store, run_id: str, missing: str) -> Finding:
    """A finished run that lacks files."""
    return find_in_run(run_id, f"finished without {missing}", AGAIN, partial(fail_run, store, run_id, _explain_damage))


def _explain_damage(store: Store, run: RunRecord) -> str:
    """Why a finished training no longer counts as a result; "" if it does."""
    missing = find_damage(store, [run]) if is_result(run) else {}
    return f"lacks {missing[run.run_id]}" if missing else ""


def find_changed(store: Store, finished: Sequence[RunRecord]) -> Iterator[Finding]:
    """Those whose files or metric points are not what they were; says how many are of a version that kept no hash."""
    unknown = 0
    for run in finished:
        if not is_in_reach(run.artifact_uri, run.tags.get(HOST)):
            continue
        changes = find_changes(store, run)
        unknown += changes is None
        if changes:
            problem = f"finished, and since then {', '.join(changes)}"
            fix = partial(fail_run, store, run.run_id, _explain_change)
            yield find_in_run(run.run_id, problem, AGAIN, fix)
    warn_of_unhashed(unknown)


def _explain_change(store: Store, run: RunRecord) -> str:
    """Why a finished training no longer counts as a result; "" if it does."""
    changes = [] if run.deleted or run.state != "finished" else find_changes(store, run)
    return f"since it finished, {', '.join(changes)}" if changes else ""


def find_unreadable(survey: Survey) -> Iterator[Finding]:
    """Values that nobody can understand; those that shape a result leave its run out of every table."""
    for run in survey.runs:
        bad = find_bad({**run.params, **run.metrics}, RESULTS) if run.is_training else []
        bad += ["it has no start"] if run.started == NEVER else []
        if bad:
            remedy = f"left out of every table; `mlflow runs delete --run-id {run.run_id}`, and train it again"
            yield find_in_run(run.run_id, ", ".join(bad), remedy)
        if KIND in run.tags and (odd := find_bad(run.tags, TAGS)):
            yield find_in_run(run.run_id, ", ".join(odd), "it counts as not there")
    for experiment in survey.experiments:
        if FROZEN in experiment.tags and read_texts(experiment.tags[FROZEN]) is None:
            yield Finding(
                subject=f"experiment {experiment.name}",
                problem=f"its tag {FROZEN} is not what was frozen",
                remedy="every claim counts as changed (DEVIATED); put the tag back if you have it",
            )
