"""`plan` and `sweep`: a whole experiment, every cell once."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import Number
from pipeline.errors import AnalysisError, TrainingError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.sweep.cells import Cell
    from pipeline.sweep.sweep import Sweep

SEEDS = click.option("--seeds", default="", help="Only these seeds, as 0-4 or 0,2,7.")
WORKERS = click.option(
    "--workers", type=Number(0, 256), default=0, show_default=True, help="Cells at once; 0 for one a core."
)
KEEP = click.option("--keep", is_flag=True, help="Count runs that an earlier version of the training finished.")


@click.command()
@click.argument("experiment")
@SEEDS
@WORKERS
@KEEP
def plan(experiment: str, seeds: str, workers: int, keep: bool) -> None:
    """Show the cells of EXPERIMENT, what is done of them and how long the rest will take; runs nothing.

    Of each claim it says which verdicts the design can reach and, once two seeds are finished, with what power.

    \b
    python -m pipeline plan experiments/mnist14.toml --workers 2
    """
    from pipeline.sweep.cells import count_states
    from pipeline.sweep.estimate import count_cores, estimate_cells, format_duration
    from pipeline.sweep.sweep import open_sweep

    sweep = open_sweep(experiment, seeds)
    runs = sweep.read_runs()
    cells = judge_cells(sweep, runs, keep)
    for cell in cells:
        click.echo(f"{cell.name:<28}{cell.state:<9}{cell.run_id}".rstrip())
    click.echo(", ".join(f"{number} {state}" for state, number in count_states(cells).items()))
    for line in foresee_claims(experiment, sweep, runs):
        click.echo(line)
    if all(cell.state == "done" for cell in cells):
        return
    estimate = estimate_cells(cells, runs, socket.gethostname())
    if estimate is None:
        click.echo("time left: unknown, as this machine has finished no run of the experiment yet")
        return
    workers = workers or count_cores()
    low, middle, high = (format_duration(each / workers) for each in (estimate.low, estimate.middle, estimate.high))
    click.echo(f"time left: about {middle} ({low} to {high}) with {workers} workers")


def foresee_claims(path: str, sweep: Sweep, runs: pd.DataFrame) -> list[str]:
    """What each claim of the file can come to, with the spread of the runs that are there."""
    from pipeline.analysis.comparison import Question, ask_experiment, compare_runs
    from pipeline.analysis.design import NO_HISTORY, Records
    from pipeline.analysis.prospects import foresee
    from pipeline.report.lessons import say_prospects
    from pipeline.study.experiment import load_experiment
    from pipeline.tracking.predicted import read_predicted
    from pipeline.tracking.query import read_history

    declared = load_experiment(path)
    if not declared.claims:
        return []
    try:
        found = compare_runs(
            runs,
            lambda run_ids: read_history(sweep.store, run_ids),
            ask_experiment(declared, Question(rule="all-seeds"), None),
            lambda run_ids, needed: read_predicted(sweep.store, sweep.experiment_id, run_ids, needed),
        )
        records = found.records
    except AnalysisError:  # nothing comparable has finished yet
        records = Records(runs=runs.iloc[:0], history=NO_HISTORY)
    return say_prospects(declared, foresee(declared, records))


@click.command()
@click.argument("experiment")
@SEEDS
@WORKERS
@click.option("--budget", default="", help="Start only what fits into this time, as 2h or 30m; whole seeds first.")
@click.option("--scheduler", help="Address of a running Dask scheduler, instead of local processes.")
@click.option("--attempts", type=click.IntRange(1, 10), default=2, show_default=True, help="Tries for each cell.")
@click.option("--force", is_flag=True, help="Train finished cells again, in new runs.")
@KEEP
def sweep(
    experiment: str,
    seeds: str,
    workers: int,
    budget: str,
    scheduler: str | None,
    attempts: int,
    force: bool,
    keep: bool,
) -> None:
    """Train every cell of EXPERIMENT that is not done, each in its own process; go on where an earlier sweep stopped.

    A finished cell is skipped, a killed one resumed from its last epoch. A cell that fails does not stop the others,
    and one that another sweep trains is waited for.

    \b
    python -m pipeline sweep experiments/pairs.toml
    python -m pipeline sweep experiments/matched.toml --workers 2 --seeds 0-4 --budget 2h
    python -m pipeline sweep experiments/matched.toml --scheduler tcp://head:8786
    """
    from pipeline.sweep.estimate import count_cores, order_cells, parse_duration, take_within
    from pipeline.sweep.sweep import open_sweep

    workers = workers or count_cores()
    seconds = parse_duration(budget) if budget else None
    since = datetime.now(UTC).isoformat() if force else ""
    opened = open_sweep(experiment, seeds, since)
    runs = opened.read_runs()
    cells = judge_cells(opened, runs, keep)
    left = [cell for cell in cells if cell.state != "done"]
    click.echo(f"{opened.declared.name}: {len(cells)} cells, {len(cells) - len(left)} done")
    if seconds and left:
        left = take_within(left, runs, socket.gethostname(), seconds * workers)
        click.echo(f"{len(left)} of them fit into {budget}")
    path, root = Path(experiment).resolve(), Path(__file__).resolve().parents[2]
    place = path.relative_to(root) if path.is_relative_to(root) else path  # a worker elsewhere has a clone of its own
    if left:
        freeze_declared(opened, experiment)
    train_cells(opened, order_cells(left), [f"--since={since}", str(place)], (workers, scheduler, attempts))


def judge_cells(sweep: Sweep, runs: pd.DataFrame, keep: bool) -> list[Cell]:
    """Every cell with its state; says what runs of an earlier version there are, and counts them if they are kept."""
    from pipeline.sweep.cells import keep_earlier

    cells = sweep.judge_cells(runs)
    earlier = sweep.find_earlier(cells, runs)
    if earlier and not keep:
        click.echo(
            f"An earlier version of the training finished {len(earlier)} of these cells: "
            "--keep counts such runs as done, otherwise their cells are trained again"
        )
    return keep_earlier(cells, earlier) if keep else cells


def freeze_declared(sweep: Sweep, experiment: str) -> None:
    """Freeze what the whole file declares, whatever seeds were chosen."""
    from pipeline.study.experiment import load_experiment
    from pipeline.tracking.freeze import freeze_plan

    freeze_plan(sweep.store, sweep.experiment_id, load_experiment(experiment))


def train_cells(sweep: Sweep, cells: Sequence[Cell], words: Sequence[str], by: tuple[int, str | None, int]) -> None:
    """Train the cells `by` (workers, scheduler, attempts), and say how each ended; raises TrainingError."""
    from pipeline.cli.progress import CellLines
    from pipeline.sweep.execute import open_cluster, run_cells
    from pipeline.tracking.recorder import end_launched_run

    workers, scheduler, attempts = by
    failed = []
    with end_launched_run(sweep.store, "sweep"):
        with open_cluster(workers, scheduler) as client, CellLines(sweep, cells) as lines:
            for report in run_cells(client, cells, words, attempts):
                lines.end_cell(report)
                failed += [report.name] if report.returncode else []
        if failed:
            raise TrainingError(
                f"{len(failed)} of {len(cells)} cells failed: {', '.join(failed)}; start the sweep again"
            )
