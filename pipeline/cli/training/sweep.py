"""`plan` and `sweep`: a whole experiment, every cell once; `cell` and `cells`: what a sweep starts for each of them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from pipeline import interrupts
from pipeline.cli.options import FILE_ARGUMENT, SEEDS, Number, check_seeds
from pipeline.cli.terminal import quiet_stderr, repeat_command, telling_stop
from pipeline.plain import count, parse_duration

if TYPE_CHECKING:
    from pipeline.sweep.cells import Cell
    from pipeline.sweep.execute import CellReport
    from pipeline.sweep.sweep import Work

WORKERS = click.option(
    "--workers", type=Number(0, 256), default=0, show_default=True, help="Cells to train at once; 0 for one per core."
)
OPEN = (
    "without tls:// anyone who can reach the scheduler or a worker can run code as you; "
    "give Dask certificates (docs/several-machines.md)"
)
KEEP = click.option("--keep", is_flag=True, help="Accept runs finished by an earlier version of the training.")
IMPORTS = (
    *("mlflow.keras", "mlflow.store.tracking.sqlalchemy_store"),
    *("pipeline.cli.progress", "pipeline.sweep.sweep", "pipeline.training.run"),
)


@click.command()
@FILE_ARGUMENT
@SEEDS
@WORKERS
@KEEP
@click.option("--cells", "each", is_flag=True, help="A line for each cell, not for each variant.")
def plan(experiment: str, seeds: str, workers: int, keep: bool, each: bool) -> None:
    """Show the cells of EXPERIMENT, their status and the time left.

    Nothing is trained. For each claim it prints the verdicts that the design can reach and, once two seeds are
    finished, with what power.

    \b
    python -m pipeline plan experiments/mnist14.toml --workers 2
    python -m pipeline plan experiments/twins.toml --cells
    """
    check_seeds(experiment, seeds)

    from pipeline.sweep.cells import count_states
    from pipeline.sweep.estimate import count_cores, estimate_cells, probe_cells, say_estimate
    from pipeline.sweep.sweep import open_sweep

    opened = open_sweep(experiment, seeds, create=False)
    work = opened.find_work(keep=keep)
    say_earlier(work)
    cells = work.cells
    for line in list_cells(cells, each=each):
        click.echo(line)
    states = ", ".join(f"{number} {state}" for state, number in count_states(cells).items())
    click.echo(f"{count(len(cells), 'cell')}: {states}")
    if opened.declared.claims:
        from pipeline.workflows.foresee import foresee_claims

        for line in foresee_claims(opened.path, opened.store, opened.experiment_id, work.runs):
            click.echo(line)
    if not work.left:
        return
    estimate = estimate_cells(cells, opened.read_paces(work.runs))
    by = ""
    if estimate is None:
        with quiet_stderr():
            estimate, name = probe_cells(cells)
        by = f", judging by some seconds of {name}: no training like these has finished on this machine"
    click.echo(f"time left: {say_estimate(estimate, workers or count_cores())}{by}")


@click.command()
@FILE_ARGUMENT
@SEEDS
@WORKERS
@click.option("--budget", default="", help="Start only what fits into this time, such as 2h; whole seeds first.")
@click.option("--scheduler", help="Use the Dask scheduler at this address instead of local processes.")
@click.option("--attempts", type=click.IntRange(1, 10), default=2, show_default=True, help="Tries per cell.")
@click.option("--force", is_flag=True, help="Train finished cells again, as new runs.")
@KEEP
def sweep(experiment: str, seeds: str, budget: str, force: bool, keep: bool, **how: Any) -> None:
    """Train every cell of EXPERIMENT that is not finished yet.

    Each cell runs in its own process. Finished cells are skipped, and stopped ones continue after their last epoch.
    A cell that fails does not stop the others; one that another sweep is training is waited for. Ctrl-C stops the
    sweep; start it again to continue.

    \b
    python -m pipeline sweep experiments/pairs.toml
    python -m pipeline sweep experiments/matched.toml --workers 2 --seeds 0-4 --budget 2h
    python -m pipeline sweep experiments/matched.toml --scheduler tls://head:8786
    """
    check_seeds(experiment, seeds)
    if how["scheduler"] and (budget or how["workers"]):
        raise click.UsageError("--budget and --workers are about this machine; leave them out beside --scheduler")
    seconds = parse_duration(budget) if budget else None

    from pipeline.cli.progress import CellLines
    from pipeline.sweep.estimate import count_cores, estimate_cells, take_within
    from pipeline.sweep.sweep import open_sweep

    how["workers"] = workers = how["workers"] or count_cores()
    scheduler: str | None = how["scheduler"]
    opened = open_sweep(experiment, seeds, datetime.now(UTC).isoformat() if force else "")
    work = opened.find_work(keep=keep)
    say_earlier(work)
    ended: list[CellReport] = []
    with telling_stop(lambda: say_stopped(work, ended, scheduler, again=force)):
        left = work.left
        click.echo(f"{opened.declared.name}: {count(len(work.cells), 'cell')}, {len(work.cells) - len(left)} finished")
        paces = opened.read_paces(work.runs)
        if seconds and left:
            left = take_within(left, paces, seconds * workers)
            click.echo(f"{len(left)} of them fit into {budget}")
        if scheduler and not scheduler.startswith("tls://"):
            click.echo(f"Warning: {OPEN}", err=True)
        estimate = estimate_cells(left, paces)
        with CellLines(opened, left, ended, estimate.middle / workers if estimate else None) as lines:
            opened.run(left, lines.end_cell, **how)
    click.echo(f"Next: {shlex.join(('python', '-m', 'pipeline', 'compare', experiment))}")


def list_cells(cells: Sequence[Cell], *, each: bool) -> Iterator[str]:
    """A line for each cell with its status and its run; unless `each`, one for each variant with several cells."""
    from pipeline.sweep.cells import count_states

    by_variant: dict[str, list[Cell]] = {}
    for cell in cells:
        by_variant.setdefault(cell.name if each else cell.variant.name, []).append(cell)
    width = max([24, *(len(cell.name) for cell in cells)]) + 2
    for name, own in by_variant.items():
        if len(own) == 1:
            yield f"{own[0].name:<{width}}{own[0].state:<9} {own[0].run_id}".rstrip()
        else:
            states = (f"{number} {state}" for state, number in count_states(own).items() if number)
            yield f"{name:<{width}}{', '.join(states)}"


def say_stopped(work: Work, ended: Sequence[CellReport], scheduler: str | None, *, again: bool) -> str:
    """How many cells are finished when a signal has stopped the sweep, and the command that continues."""
    finished = len(work.cells) - len(work.left) + sum(not report.returncode for report in ended)
    elsewhere = " Cells under way on the scheduler's workers run to their end." if scheduler else ""
    return (
        f"Stopped. {finished} of {count(len(work.cells), 'cell')} are finished.{elsewhere}\n"
        f"{'Start again' if again else 'Continue'}: {repeat_command(click.get_current_context())}"
    )


def say_earlier(work: Work) -> None:
    """Say what runs of an earlier version there are, unless they are kept."""
    if work.earlier:
        click.echo(
            f"An earlier version of the training finished {work.earlier} of these cells: "
            "--keep accepts them, otherwise their cells are trained again"
        )


@click.command(hidden=True)
@click.argument("experiment")
@click.argument("variant")
@click.argument("seed", type=int)
@click.option("--since", default="", help="Only runs that began at this time or later count as done or started.")
def cell(experiment: str, variant: str, seed: int, since: str) -> None:
    """Train one cell of EXPERIMENT unless it is done, or go on with it; safe to start twice, even at once.

    \b
    python -m pipeline cell experiments/smoke.toml conv2_3x3 0
    """
    from pipeline.cli.progress import EpochLines
    from pipeline.sweep.sweep import open_sweep

    interrupts.follow_launcher()
    found = open_sweep(experiment, str(seed), since).train_cell(variant, EpochLines())
    if found.state == "finished":
        click.echo(f"{found.name} is finished; run {found.run_id}")


@click.command(hidden=True)
def cells() -> None:
    """Import all that `cell` needs, and run it in a fork for each line of stdin, a JSON list of its words.

    \b
    python -m pipeline cells < cells.jsonl
    """
    from pipeline.sweep.forkserver import serve_cells, settle_signals, stamp_code

    def become_cell(words: list[str]) -> None:
        """Go on as `python -m pipeline cell` with these words."""
        sys.argv[1:] = ["cell", *words]
        door.main(sys.argv[1:], prog_name="python -m pipeline")

    door = click.get_current_context().find_root().command
    code = stamp_code()
    settle_signals()
    interrupts.follow_launcher()
    import_everything()
    serve_cells(become_cell, code)


def import_everything() -> None:
    """Import what `cell` would, also what others import as late as they can, and look up what cannot change."""
    from PIL import Image

    from pipeline.tracking.mlflow_internals import find_packages
    from pipeline.tracking.provenance import list_packages

    for name in IMPORTS:
        import_module(name)
    Image.init()
    list_packages()
    find_packages()
