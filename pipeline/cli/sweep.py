"""`plan`, `sweep` and `cell`: a whole experiment, every cell once."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline import interrupts
from pipeline.errors import TrainingError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.study.experiment import Experiment
    from pipeline.sweep.cells import Cell
    from pipeline.tracking.store import Store

SEEDS = click.option("--seeds", default="", help="Only these seeds, as 0-4 or 0,2,7.")
WORKERS = click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True, help="Cells at once.")


@click.command()
@click.argument("experiment")
@SEEDS
@WORKERS
def plan(experiment: str, seeds: str, workers: int) -> None:
    """Show the cells of EXPERIMENT, what is done of them and how long the rest will take; runs nothing.

    \b
    python -m pipeline plan experiments/mnist14.toml --workers 2
    """
    from pipeline.sweep.cells import count_states
    from pipeline.sweep.estimate import estimate_cells, format_duration

    _, _, cells, runs = find_cells(experiment, seeds)
    for cell in cells:
        click.echo(f"{cell.name:<28}{cell.state:<9}{cell.run_id}".rstrip())
    click.echo(", ".join(f"{number} {state}" for state, number in count_states(cells).items()))
    estimate = estimate_cells(cells, runs, socket.gethostname())
    if estimate is None:
        click.echo("time left: unknown, as this machine has finished no run of the experiment yet")
        return
    low, middle, high = (format_duration(each / workers) for each in (estimate.low, estimate.middle, estimate.high))
    click.echo(f"time left: about {middle} ({low} to {high}) with {workers} workers")


@click.command()
@click.argument("experiment")
@SEEDS
@WORKERS
@click.option("--budget", default="", help="Start only what fits into this time, as 2h or 30m; whole seeds first.")
@click.option("--scheduler", help="Address of a running Dask scheduler, instead of local processes.")
@click.option("--attempts", type=click.IntRange(1, 10), default=2, show_default=True, help="Tries for each cell.")
def sweep(experiment: str, seeds: str, workers: int, budget: str, scheduler: str | None, attempts: int) -> None:
    """Train every cell of EXPERIMENT that is not done, each in a fresh process; go on where an earlier sweep stopped.

    A finished cell is skipped, a killed one resumed from its last epoch. A cell that fails does not stop the others.

    \b
    python -m pipeline sweep experiments/pairs.toml
    python -m pipeline sweep experiments/matched.toml --workers 2 --seeds 0-4 --budget 2h
    python -m pipeline sweep experiments/matched.toml --scheduler tcp://head:8786
    """
    from pipeline.study.experiment import load_experiment
    from pipeline.sweep.estimate import parse_duration, take_within
    from pipeline.sweep.execute import open_cluster, run_cells
    from pipeline.tracking.freeze import freeze_plan

    seconds = parse_duration(budget) if budget else None
    declared, (store, experiment_id), cells, runs = find_cells(experiment, seeds)
    left = [cell for cell in cells if cell.state != "done"]
    click.echo(f"{declared.name}: {len(cells)} cells, {len(cells) - len(left)} done")
    freeze_plan(store, experiment_id, load_experiment(experiment))
    if seconds:
        left = take_within(left, runs, socket.gethostname(), seconds * workers)
        click.echo(f"{len(left)} of them fit into {budget}")
    failed = []
    with open_cluster(workers, scheduler) as client:
        for number, report in enumerate(run_cells(client, left, str(Path(experiment).resolve()), attempts), start=1):
            click.echo(f"{number}/{len(left)}  {report.name:<28}{report.seconds:7.1f} s  {report.message}")
            failed += [report.name] if report.returncode else []
    if failed:
        raise TrainingError(f"{len(failed)} of {len(left)} cells failed: {', '.join(failed)}; start the sweep again")


@click.command(hidden=True)
@click.argument("experiment")
@click.argument("variant")
@click.argument("seed", type=int)
def cell(experiment: str, variant: str, seed: int) -> None:
    """Train one cell of EXPERIMENT unless it is done, or go on with it; safe to start twice, even at once.

    \b
    python -m pipeline cell experiments/smoke.toml conv2_3x3 0
    """
    from filelock import FileLock

    from pipeline.cli.train import resume_and_record, train_and_record
    from pipeline.tracking.resume import locate_checkpoints

    interrupts.follow_launcher()
    _, (store, experiment_id), cells, _ = find_cells(experiment, str(seed))
    fingerprint = find_cell(cells, variant).fingerprint
    folder = locate_checkpoints(store, "cells")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{fingerprint}.lock"):  # another sweep's process of this cell: wait, then see what it left
        _, _, cells, _ = find_cells(experiment, str(seed))
        mine = find_cell(cells, variant)
        if mine.state == "done":
            click.echo(f"{mine.name} is done; run {mine.run_id}")
            return
        os.environ["MLFLOW_EXPERIMENT_ID"] = experiment_id
        if mine.state == "started" and any(locate_checkpoints(store, mine.run_id).glob("epoch-*")):
            resume_and_record(mine.run_id, mine.variant.name, mine.settings)
        else:
            train_and_record(mine.variant, mine.settings)


def find_cell(cells: list[Cell], variant: str) -> Cell:
    """The cell of a variant; raises UnknownVariant for one that the experiment does not declare."""
    from pipeline.errors import UnknownVariant

    found = [cell for cell in cells if cell.variant.name == variant]
    if not found:
        raise UnknownVariant(variant, [cell.variant.name for cell in cells])
    return found[0]


def find_cells(path: str, seeds: str) -> tuple[Experiment, tuple[Store, str], list[Cell], pd.DataFrame]:
    """The experiment of a file, its place in the store, its cells and its runs."""
    from pipeline.data.mnist import load_mnist
    from pipeline.study.experiment import load_experiment
    from pipeline.sweep.cells import choose_seeds, plan_cells
    from pipeline.tracking.query import read_runs
    from pipeline.tracking.store import find_experiment, open_store

    declared = load_experiment(path)
    if seeds:
        declared = choose_seeds(declared, seeds)
    store = open_store()
    experiment_id = find_experiment(store, declared.name, create=True)
    settings = declared.settings
    dataset = load_mnist(settings.data, subset=settings.subset, normalization=settings.normalization)
    runs = read_runs(store, experiment_id)
    return declared, (store, experiment_id), plan_cells(declared, dataset.sha256, runs), runs
