"""`data`: fetch or check the images."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--data",
    "source",
    default="auto",
    show_default=True,
    help='"auto" for MNIST, "fashion-mnist", or a file or folder of labelled images.',
)
def data(source: str) -> None:
    """Find, verify and describe the data set; fetch MNIST if needed.

    It reads .npz files, CSV tables (label, then pixels), folders with the four IDX files (gzipped or not), and folders
    with one folder of pictures for each class: images of one size from 8x8 to 256x256, grey or colour, in 2 to 1,000
    classes with numbers or names. Every conversion is reported.

    \b
    python -m pipeline data
    python -m pipeline data --data ~/fashion-mnist
    python -m pipeline data --data digit-recognizer/train.csv
    """
    from pipeline.data.datasets import load_data
    from pipeline.data.described import describe_images, list_warnings

    dataset = load_data(source)
    click.echo(f"{dataset.name}: {len(dataset.y_train):,} training and {len(dataset.y_test):,} test images")
    click.echo(f"from {dataset.source}, sha256 {dataset.sha256}")
    for line in (*describe_images(dataset), *dataset.notes):
        click.echo(line)
    for line in list_warnings(dataset.raw):
        click.echo(f"Warning: {line}", err=True)
