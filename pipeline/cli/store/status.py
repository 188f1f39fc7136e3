"""`status`: how far the runs of a store are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pipeline.cli.store.doctor import survey_experiment
from pipeline.study import metrics
from pipeline.study.tags import EPOCH, HEARTBEAT, HOST, PID, VARIANT

if TYPE_CHECKING:
    from pipeline.tracking.write.survey import RunRecord, Survey

UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
RUNNING = ("run", "variant", "seed", "epoch", "accuracy", "host", "pid", "heartbeat", "process")


@click.command()
@click.argument("experiment", default="")
def status(experiment: str) -> None:
    """Show how many trainings are finished, running, killed and failed, and how far each running one is.

    EXPERIMENT is the name of an MLflow experiment or a file of experiments/; without it, all experiments are shown.
    The accuracy is that of the test images after the last epoch, the heartbeat's age the time since it.

    \b
    python -m pipeline status
    python -m pipeline status experiments/matched.toml
    """
    survey = survey_experiment(experiment)
    show_table(count_trainings(survey))
    running = [run for run in survey.runs if run.is_training and run.state == "running"]
    if running:
        click.echo()
        show_table([RUNNING, *(describe_running(survey, run) for run in running)])
    for run_id in find_waiting(survey):
        click.echo(f"run {run_id}: not fully delivered to the store; `python -m pipeline sync` delivers it")


def count_trainings(survey: Survey) -> list[tuple[str, ...]]:
    """The header, then every experiment with its numbers of trainings by state."""
    from pipeline.tracking.write.survey import STATES

    rows: list[tuple[str, ...]] = [("experiment", *STATES)]
    for experiment in survey.experiments:
        of_it = [run for run in survey.runs if run.is_training and run.experiment_id == experiment.experiment_id]
        rows.append((experiment.name, *(str(sum(run.state == state for run in of_it)) for state in STATES)))
    return rows


def describe_running(survey: Survey, run: RunRecord) -> tuple[str, ...]:
    """The row of a run that says it runs; "" for what it has not said yet."""
    from pipeline.tracking.write.survey import lives

    accuracy = run.metrics.get(metrics.TEST_ACCURACY)
    epoch = run.tags.get(EPOCH, "")
    return (
        run.run_id,
        run.tags.get(VARIANT, ""),
        run.params.get("seed", ""),
        f"{epoch}/{run.params['epochs']}" if epoch.isdigit() and "epochs" in run.params else epoch,
        "" if accuracy is None else f"{accuracy:.4f}",
        run.tags.get(HOST, ""),
        run.tags.get(PID, ""),
        format_age(run.tags.get(HEARTBEAT, "")),
        "alive" if lives(survey.store, run) else "dead",
    )


def find_waiting(survey: Survey) -> list[str]:
    """The runs with an undelivered journal that belong to what is shown."""
    shown = {run.run_id for run in survey.runs}
    return [run_id for run_id in sorted(survey.undelivered) if not survey.name or run_id in shown]


def format_age(moment: str) -> str:
    """The time since a moment (ISO 8601) in its largest whole unit, as 40 s, 3 min, 2 h or 5 d; "" for none."""
    from pipeline.tracking.values import read_moment

    then = read_moment(moment)
    if then is None:
        return ""
    seconds = max(0, int((datetime.now(UTC) - then).total_seconds()))
    name, size = next((unit for unit in UNITS if seconds >= unit[1]), UNITS[-1])
    return f"{seconds // size} {name}"


def show_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under a header: ruled on a terminal, plain columns elsewhere."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if console.is_terminal:
        table = Table()
        for name in rows[0]:
            table.add_column(name, overflow="fold")
        for row in rows[1:]:
            table.add_row(*map(Text, row))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(f"{entry:<{width}}" for entry, width in zip(row, widths, strict=True)).rstrip())
