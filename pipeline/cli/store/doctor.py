"""`doctor`: what is wrong with the runs of a store, and fixing it; `sync`: delivering what it missed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import experiment_argument, name_experiment
from pipeline.errors import StoreUnreachable
from pipeline.plain import count, escape_controls

if TYPE_CHECKING:
    from pipeline.sweep.findings import Finding
    from pipeline.tracking.store import Store


@click.command()
@experiment_argument(default="")
@click.option("--fix", is_flag=True, help="Fix what can be fixed instead of only listing it.")
@click.option("--deep", is_flag=True, help="Also check every file and metric of finished runs against its sha256.")
def doctor(experiment: str, fix: bool, deep: bool) -> int:
    """Find damaged runs, duplicates and leftovers, and fix them.

    It finds runs whose process died, runs with missing files, duplicate results and leftover checkpoints. Exit code
    1 if anything is left. EXPERIMENT is the name of an MLflow experiment or a file from experiments/; without it,
    every experiment is checked.

    Runs that are alive are never touched, so a sweep may keep running. Only checkpoints that no run needs are
    removed for good: a deleted duplicate can be restored with MLflow.

    \b
    python -m pipeline doctor
    python -m pipeline doctor experiments/matched.toml --fix
    python -m pipeline doctor --deep
    """
    from pipeline.sweep.doctor import find_faults
    from pipeline.tracking.store import open_store
    from pipeline.tracking.write.survey import survey_store

    survey = survey_store(open_store(), name_experiment(experiment))
    found = fixed = 0
    for finding in find_faults(survey, deep=deep):
        found += 1
        done = fix and finding.fix is not None and finding.fix()
        fixed += done
        click.echo(say_finding(finding, fix=fix, done=done))
    click.echo(f"{found} found, {fixed} fixed" if found else f"healthy: {count(len(survey.runs), 'run')} checked")
    return int(fixed < found)


def say_finding(finding: Finding, *, fix: bool, done: bool) -> str:
    """One line: what it is about, what is wrong, and what is done or to be done about it."""
    if finding.fix is None:
        action = f"not fixed: {finding.remedy}"
    elif not fix:
        action = f"with --fix: {finding.remedy}"
    else:
        action = f"fixed: {finding.remedy}" if done else "not fixed: it has changed in the meantime"
    return escape_controls(f"{finding.subject}: {finding.problem}; {action}")


@click.command()
def sync() -> None:
    """Deliver results that the tracking store could not take.

    Runs keep on this machine whatever an unreachable store has missed. Each write is delivered once, with its
    original time. A training that was completed gets its figures and its model too.

    \b
    python -m pipeline sync
    """
    from pipeline.tracking.quick import find_journals
    from pipeline.tracking.store import open_store

    store = open_store()
    waiting = find_journals(store)
    failed = [run_id for run_id in waiting if not deliver_run(store, run_id)]
    click.echo(f"{len(waiting) - len(failed)} of {count(len(waiting), 'run')} delivered")
    if failed:
        raise StoreUnreachable(
            f"not delivered: {', '.join(failed)}; see above, then start `python -m pipeline sync` again"
        )


def deliver_run(store: Store, run_id: str) -> bool:
    """Deliver the journal of a run whose process is dead, and the result of a training that is whole."""
    from pipeline.tracking.write.resume import deliver_journal, is_whole

    if reason := deliver_journal(store, run_id):
        click.echo(f"run {run_id}: {reason}")
        return False
    if not is_whole(store, run_id):
        click.echo(f"run {run_id}: delivered")
        return True
    click.echo(f"run {run_id}: delivered; its figures and model follow")
    # A process of its own: the number of threads of TensorFlow is the run's.
    return subprocess.run([sys.executable, "-m", "pipeline", "train", "--resume", run_id]).returncode == 0
