"""`data`: fetch or check the images."""

from __future__ import annotations

import click


@click.command()
@click.option("--data", "source", default="auto", show_default=True, help='"auto", an .npz file or an IDX folder.')
def data(source: str) -> None:
    """Find the data set, verify it and say what it is; fetches MNIST if need be.

    \b
    python -m pipeline data
    python -m pipeline data --data ~/fashion-mnist
    """
    from pipeline.data.datasets import load_data

    dataset = load_data(source)
    click.echo(f"{dataset.name}: {len(dataset.y_train):,} training and {len(dataset.y_test):,} test images")
    click.echo(f"from {dataset.source}, sha256 {dataset.sha256}")
