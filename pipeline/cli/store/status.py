"""`status`: how far the runs of a store are."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import experiment_argument, name_experiment
from pipeline.study import metrics
from pipeline.study.tags import EPOCH, FINGERPRINT, HEARTBEAT, HOST, PID, REASON, VARIANT
from pipeline.tracking.values import read_moment

if TYPE_CHECKING:
    from pipeline.tracking.quick import ExperimentRecord, RunRecord

UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
WORDS = {"killed": "stopped"}
RUNNING = ("run", "variant", "seed", "epoch", "accuracy", "host", "pid", "heartbeat", "process")
NAMED = 5  # runs that broke off
SHORT = ("run", "cell", "epoch", "accuracy", "process")


@click.command()
@experiment_argument(default="")
def status(experiment: str) -> None:
    """Show how many runs are finished, running, stopped or failed.

    For each running one it shows the last epoch, its test accuracy, and the time since the last sign of life; for
    those that broke off, how to continue. EXPERIMENT is the name of an MLflow experiment or a file from experiments/;
    without it, all experiments are shown.

    \b
    python -m pipeline status
    python -m pipeline status experiments/matched.toml
    """
    name = name_experiment(experiment)
    view = glance_at(name) or ask_mlflow(name)
    show_table(count_trainings(view))
    running = [run for run in view.trainings if run.state == "running"]
    if running:
        click.echo()
        rows = [describe_running(view, run) for run in running]
        show_table([RUNNING, *rows], [SHORT, *map(shorten_row, rows)])
    broken = find_broken(view)
    if broken:
        click.echo()
    for run in broken[:NAMED]:
        click.echo(describe_broken(run))
    if len(broken) > NAMED:
        click.echo(
            f"and {len(broken) - NAMED} more that broke off; `python -m pipeline sweep` continues an experiment's"
        )
    for run_id in view.waiting:
        click.echo(f"run {run_id}: not fully delivered to the store; `python -m pipeline sync` delivers it")


@dataclass(frozen=True, kw_only=True)
class View:
    """What is shown: experiments, their trainings, whether a run's process lives, the runs with an undelivered rest."""

    experiments: Sequence[ExperimentRecord]
    trainings: Sequence[RunRecord]
    lives: Callable[[RunRecord], bool]
    waiting: Sequence[str]


def glance_at(name: str) -> View | None:
    """What a SQLite store says of an experiment, or of all; None where there is none, or MLflow must be asked."""
    from pipeline.tracking import quick
    from pipeline.tracking.process import is_alive

    database = quick.find_file()
    if database is None:
        return None
    try:
        experiments = [each for each in quick.read_experiments(database) if name in ("", each.name)]
        trainings = quick.read_trainings(database, experiments)
    except sqlite3.Error:
        return None
    if not experiments or any(run.state == "running" and PID not in run.tags for run in trainings):
        return None
    shown = {run.run_id for run in trainings}
    waiting = [run_id for run_id in quick.find_journals(quick.open_to_read()) if not name or run_id in shown]
    return View(experiments=experiments, trainings=trainings, lives=lambda run: is_alive(run.tags), waiting=waiting)


def ask_mlflow(name: str) -> View:
    """The same from any store; raises StoreError."""
    from pipeline.tracking.store import open_store
    from pipeline.tracking.write.survey import lives, survey_store

    survey = survey_store(open_store(), name)
    shown = {run.run_id for run in survey.runs}
    return View(
        experiments=survey.experiments,
        trainings=[run for run in survey.runs if run.is_training],
        lives=lambda run: lives(survey.store, run),
        waiting=[run_id for run_id in sorted(survey.undelivered) if not name or run_id in shown],
    )


def count_trainings(view: View) -> list[tuple[str, ...]]:
    """The header, then every experiment with its numbers of trainings by state."""
    from pipeline.tracking.quick import STATES

    rows: list[tuple[str, ...]] = [("experiment", *(WORDS.get(state, state) for state in STATES))]
    for experiment in view.experiments:
        of_it = [run for run in view.trainings if run.experiment_id == experiment.experiment_id]
        rows.append((experiment.name, *(str(sum(run.state == state for run in of_it)) for state in STATES)))
    return rows


def describe_running(view: View, run: RunRecord) -> tuple[str, ...]:
    """The row of a run that says it runs; "" for what it has not said yet."""
    accuracy = run.metrics.get(metrics.TEST_ACCURACY)
    epoch = run.tags.get(EPOCH, "")
    return (
        run.run_id,
        run.tags.get(VARIANT, ""),
        run.params.get("seed", ""),
        f"{epoch}/{run.params['epochs']}" if epoch.isdigit() and "epochs" in run.params else epoch,
        "" if accuracy is None else metrics.format_value(metrics.TEST_ACCURACY, accuracy),
        run.tags.get(HOST, ""),
        run.tags.get(PID, ""),
        format_age(run.tags.get(HEARTBEAT, "")),
        "alive" if view.lives(run) else "dead",
    )


def find_broken(view: View) -> list[RunRecord]:
    """The newest run of each training that broke off and was not trained again, newest first.

    Runs of one cell with other settings or data have other fingerprints; one that ended too early to have a
    fingerprint is replaced by any later run of its cell.
    """
    broken: dict[tuple[str, ...], RunRecord] = {}
    replaced: set[tuple[str, ...]] = set()
    for run in view.trainings:  # oldest first
        cell = (run.experiment_id, run.tags.get(VARIANT, ""), run.params.get("seed", ""))
        training = (*cell, run.tags.get(FINGERPRINT, ""))
        if run.state == "finished" or (run.state == "running" and view.lives(run)):
            broken.pop((*cell, ""), None)
            replaced.add(training)
        else:
            broken.pop(training, None)
            broken[training] = run
    return [run for training, run in reversed(broken.items()) if not training[-1] or training not in replaced]


def describe_broken(run: RunRecord) -> str:
    """What broke off, where, why, and the command that continues it if an epoch of it is kept."""
    epoch, seed = run.tags.get(EPOCH, "").partition("/")[0], run.params.get("seed", "")
    cell = f"{run.tags.get(VARIANT, run.run_id)}{f'-s{seed}' if seed else ''}"
    word = "died" if run.state == "running" else WORDS.get(run.state, run.state)
    why = f": {run.tags[REASON]}" if run.state == "failed" and run.tags.get(REASON) else ""
    if not epoch.isdigit() or epoch == "0":
        return f"{cell} {word} before the end of its first epoch{why or '; train it again'}"
    whole = f" of {run.params['epochs']}" if "epochs" in run.params else ""
    return f"{cell} {word} after epoch {epoch}{whole}{why}. Continue:\n  python -m pipeline train --resume {run.run_id}"


def shorten_row(row: tuple[str, ...]) -> tuple[str, ...]:
    """A row of RUNNING as SHORT has it: 80 columns hold it in one line."""
    run_id, variant, seed, epoch, accuracy, _, _, age, process = row
    return run_id, f"{variant}-s{seed}" if seed else variant, epoch, accuracy, f"{process} {age}".strip()


def format_age(moment: str) -> str:
    """The time since a moment (ISO 8601) in its largest whole unit, as 40 s, 3 min, 2 h or 5 d; "" for none."""
    then = read_moment(moment)
    if then is None:
        return ""
    seconds = max(0, int((datetime.now(UTC) - then).total_seconds()))
    name, size = next((unit for unit in UNITS if seconds >= unit[1]), UNITS[-1])
    return f"{seconds // size} {name}"


def show_table(rows: Sequence[tuple[str, ...]], short: Sequence[tuple[str, ...]] = ()) -> None:
    """Print rows under a header: ruled on a terminal, plain elsewhere; `short` where a terminal is too narrow."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if console.is_terminal and short and sum(widths) + 3 * len(widths) + 1 > console.width:
        rows = short
    elif console.is_terminal:
        table = Table(*rows[0])
        for row in rows[1:]:
            table.add_row(*map(Text, row))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(f"{entry:<{width}}" for entry, width in zip(row, widths, strict=True)).rstrip())
