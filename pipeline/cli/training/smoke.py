"""`smoke`: does the whole pipeline work here? On a subset, without the network."""

from __future__ import annotations

import os

import click

from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant

ARCH = "conv2_3x3"
SUBSET = "tests/mnist-subset.npz"


@click.command()
def smoke() -> None:
    """Train two epochs on 2,000 images and check what was stored.

    \b
    python -m pipeline smoke
    mlflow run . -e smoke --env-manager local
    """
    from pipeline.cli.progress import EpochLines
    from pipeline.tracking.files.model import verify_run
    from pipeline.tracking.store import project_root
    from pipeline.workflows.train import train_variant

    settings = Settings(epochs=2, data=os.path.relpath(project_root() / SUBSET))
    run = train_variant(find_variant(ARCH), settings, EpochLines())
    verify_run(run.run_id, settings)
    click.echo("smoke passed: every artifact is there, and the saved model predicts what the trained one did")
