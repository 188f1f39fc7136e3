"""`cell`: what a sweep starts for each cell; `cells`: what it forks them from."""

from __future__ import annotations

import sys

import click

from pipeline import interrupts

IMPORTS = (
    *("mlflow.keras", "mlflow.store.tracking.sqlalchemy_store"),
    *("pipeline.cli.progress", "pipeline.sweep.sweep", "pipeline.training.run"),
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
    if found.state == "done":
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
    from importlib import import_module

    from PIL import Image

    from pipeline.tracking.mlflow_internals import find_packages
    from pipeline.tracking.provenance import list_packages

    for name in IMPORTS:
        import_module(name)
    Image.init()
    list_packages()
    find_packages()
