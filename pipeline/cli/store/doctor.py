"""`doctor`: what is wrong with the runs of a store, and fixing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.cli.early import experiment_argument
from pipeline.plain import count, escape_controls

if TYPE_CHECKING:
    from pipeline.sweep.findings import Finding
    from pipeline.tracking.write.survey import Survey


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

    survey = survey_experiment(experiment)
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


def survey_experiment(experiment: str) -> Survey:
    """The experiment with this name or file, "" for all."""
    from pipeline.study.experiment import load_experiment
    from pipeline.tracking.store import open_store
    from pipeline.tracking.write.survey import survey_store

    name = load_experiment(experiment).name if experiment.endswith(".toml") else experiment
    return survey_store(open_store(), name)
