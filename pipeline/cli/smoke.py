"""`smoke`: does the whole pipeline work here? On a subset, without the network."""

from __future__ import annotations

import os

import click

from pipeline.cli.train import train_and_record
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant

ARCH = "conv2_3x3"
SUBSET = "tests/mnist-subset.npz"


@click.command()
def smoke() -> None:
    """Train two epochs on 2,000 images, then read everything back from the store and check it.

    \b
    python -m pipeline smoke
    mlflow run . -e smoke --env-manager local
    """
    from pipeline.tracking.store import project_root

    settings = Settings(epochs=2, data=os.path.relpath(project_root() / SUBSET))
    run_id = train_and_record(find_variant(ARCH), settings)

    from pipeline.tracking.verify import verify_run

    verify_run(run_id, settings)
    click.echo("smoke passed: every artifact is there, and the saved model predicts what the trained one did")
