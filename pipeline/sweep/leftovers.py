"""Find what is left: checkpoints that nothing will go on from, journals that nobody delivers, leases of the dead."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.private import FILE_MODE
from pipeline.sweep.findings import Finding, find_in_run
from pipeline.tracking.quick import locate_journals
from pipeline.tracking.store import Store
from pipeline.tracking.write.resume import deliver_journal, locate_checkpoints
from pipeline.tracking.write.survey import RunRecord, Survey, drop_lease, find_leases, lives, look_up_run

RUN_ID = "[0-9a-f]" * 32
STRANGE = "not in the store"
STRANGER_SECONDS = 7 * 24 * 3600
"""For so long, nobody may have written into a folder of a run that is not in the store: it may be in another store."""
UNFINISHED = "*.unfinished"


def find_checkpoints_left(survey: Survey, damaged: Collection[str]) -> Iterator[Finding]:
    """Folders of runs that nothing goes on with, and halves of files; one that a process holds is left alone."""
    known = {run.run_id: run for run in survey.runs}
    for folder in sorted(locate_checkpoints(survey.store, "-").parent.glob(RUN_ID)):
        run = known.get(folder.name) or look_up_run(survey.store, folder.name)
        if not _is_asked(survey, run) or folder.name in damaged or folder.name in survey.undelivered:
            continue
        subject = f"checkpoints of {folder.name}"
        if reason := _explain_needless(survey.store, folder, run):
            fix = partial(_remove_folder, survey.store, folder)
            yield Finding(subject=subject, problem=f"their run is {reason}", remedy="folder removed", fix=fix)
        elif (halves := sorted(path.name for path in folder.glob(UNFINISHED))) and not is_held(folder):
            problem = f"a process died while it wrote {', '.join(halves)}"
            yield Finding(subject=subject, problem=problem, remedy="file removed", fix=partial(_remove_halves, folder))


def find_undelivered(survey: Survey) -> Iterator[Finding]:
    """Journals of dead processes: what they hold is in no store yet."""
    known = {run.run_id: run for run in survey.runs}
    for run_id in sorted(survey.undelivered):
        path = locate_journals(survey.store) / f"{run_id}.jsonl"
        run = known.get(run_id) or look_up_run(survey.store, run_id)
        if not _is_asked(survey, run) or (run and not run.deleted and lives(survey.store, run)):
            continue
        problem, remedy = "not fully delivered to the store", "delivered"
        fix = partial(_deliver, survey.store, run_id) if run and not run.deleted else None
        if run is None:
            if time.time() - path.stat().st_mtime < STRANGER_SECONDS:
                continue
            problem, remedy = f"its journal waits, and it is {STRANGE}", f"sync it with its own store, or remove {path}"
        elif run.deleted:
            remedy = f"`mlflow runs restore --run-id {run_id}`, then `python -m pipeline sync`; or remove {path}"
        yield find_in_run(run_id, problem, remedy, fix)


def find_leases_left(survey: Survey) -> Iterator[Finding]:
    """Leases of dead processes."""
    for experiment in survey.experiments:
        for key, process in find_leases(experiment).items():
            owner = f"process {process['pid']} on {process['host']}, which died" if process else "nobody"
            yield Finding(
                subject=f"experiment {experiment.name}",
                problem=f"{key} is of {owner}",
                remedy="removed",
                fix=partial(drop_lease, survey.store, experiment.experiment_id, key),
            )


def _deliver(store: Store, run_id: str) -> bool:
    """Deliver a journal; False where the store or a living process does not let it."""
    return not deliver_journal(store, run_id)


def is_held(folder: Path) -> bool:
    """Whether a process trains with the checkpoints of this folder at this moment."""
    if not (folder / ".lock").is_file():
        return False
    with _hold(folder) as free:
        return not free


def _is_asked(survey: Survey, run: RunRecord | None) -> bool:
    """Whether a run is of the experiment that the survey is about; a strange run belongs to none."""
    ids = {experiment.experiment_id for experiment in survey.experiments}
    return not survey.name or (run is not None and run.experiment_id in ids)


def _explain_needless(store: Store, folder: Path, run: RunRecord | None) -> str:
    """Why nothing will go on from the checkpoints of a folder, "" if something may or a process is at it."""
    if run is None:
        newest = max((path.stat().st_mtime for path in (folder, *folder.iterdir())), default=0.0)
        reason = STRANGE if time.time() - newest > STRANGER_SECONDS else ""
    elif run.deleted:
        reason = "deleted"
    elif run.state == "finished" and run.status == "FINISHED" and not lives(store, run):
        reason = "finished"  # a living process removes the folder itself, right after the end
    else:
        reason = ""
    return "" if reason and is_held(folder) else reason


def _remove_folder(store: Store, folder: Path) -> bool:
    """Remove a folder that is still needless; False if a process took it meanwhile."""
    if not folder.is_dir():
        return True
    if not _explain_needless(store, folder, look_up_run(store, folder.name)):
        return False
    with _hold(folder) as free:
        if free:
            shutil.rmtree(folder)
    return free


def _remove_halves(folder: Path) -> bool:
    """Remove the halves of files; False if a process took the folder meanwhile."""
    with _hold(folder) as free:
        for path in folder.glob(UNFINISHED) if free else ():
            path.unlink()
    return free


@contextmanager
def _hold(folder: Path) -> Iterator[bool]:
    """Keep others from the folder until the block ends; False where a process has it."""
    try:
        lock = FileLock(folder / ".lock", timeout=0, mode=FILE_MODE).acquire()
    except Timeout:
        yield False
        return
    with lock:
        yield True
