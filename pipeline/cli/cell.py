"""`cell`: what a sweep starts for each cell; `cells`: what it forks them from."""

from __future__ import annotations

import os
import sys

import click

from pipeline import interrupts

IMPORTS = (
    *("mlflow.keras", "mlflow.store.tracking.sqlalchemy_store"),
    *("pipeline.cli.main", "pipeline.cli.progress", "pipeline.cli.train", "pipeline.sweep.sweep"),
    *("pipeline.tracking.frozen", "pipeline.tracking.resume", "pipeline.training.run"),
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
    from pipeline.cli.train import resume_and_record, train_and_record
    from pipeline.errors import CellTaken
    from pipeline.sweep.sweep import open_sweep
    from pipeline.tracking.lease import hold_lease
    from pipeline.tracking.resume import locate_checkpoints

    interrupts.follow_launcher()
    sweep = open_sweep(experiment, str(seed), since)
    with hold_lease(sweep.store, sweep.experiment_id, sweep.choose_cell(variant).fingerprint):
        mine = sweep.choose_cell(variant, sweep.read_runs())
        if mine.state == "done":
            click.echo(f"{mine.name} is done; run {mine.run_id}")
            return
        if mine.state == "running":
            raise CellTaken(f"{mine.name} is trained by run {mine.run_id} at this moment; let it end")
        os.environ["MLFLOW_EXPERIMENT_ID"] = sweep.experiment_id
        if mine.state == "started" and any(locate_checkpoints(sweep.store, mine.run_id).glob("epoch-*")):
            resume_and_record(mine.run_id, mine.variant.name, mine.settings, sweep.dataset)
        else:
            train_and_record(mine.variant, mine.settings, sweep.dataset)


@click.command(hidden=True)
def cells() -> None:
    """Import all that `cell` needs, and run it in a fork for each line of stdin, a JSON list of its words.

    \b
    python -m pipeline cells < cells.jsonl
    """
    from pipeline.sweep.forkserver import serve_cells, stamp_code

    code = stamp_code()
    import_everything()
    interrupts.follow_launcher()
    serve_cells(become_cell, code)


def import_everything() -> None:
    """Import what `cell` would, also what others import as late as they can, and look up what cannot change."""
    from importlib import import_module

    from PIL import Image

    from pipeline.tracking.artifacts import look_up_packages
    from pipeline.tracking.environment import list_packages

    for name in IMPORTS:
        import_module(name)
    Image.init()
    list_packages()
    look_up_packages()


def become_cell(words: list[str]) -> None:
    """Go on as `python -m pipeline cell` with these words."""
    from pipeline.cli.main import main

    sys.argv[1:] = ["cell", *words]
    main(sys.argv[1:], prog_name="python -m pipeline")
