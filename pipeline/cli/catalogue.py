"""`data`: fetch or check the images; `variants`: the study's table."""

from __future__ import annotations

import click

from pipeline.cli.options import VARIANTS_OPTION, setting_option
from pipeline.study.experiment import load_variants


@click.command()
@setting_option("data")
def data(data: str) -> None:
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

    dataset = load_data(data)
    click.echo(f"{dataset.name}: {len(dataset.y_train):,} training and {len(dataset.y_test):,} test images")
    click.echo(f"from {dataset.source}, sha256 {dataset.sha256}")
    for line in (*describe_images(dataset), *dataset.notes):
        click.echo(line)
    for line in list_warnings(dataset.raw):
        click.echo(f"Warning: {line}", err=True)


@click.command()
@VARIANTS_OPTION
def variants(variants: str) -> None:
    """List the 14 published variants and the 5 controls.

    With --variants, the file's own variants follow.

    \b
    python -m pipeline variants
    python -m pipeline variants --variants my.toml
    """
    from pipeline.report.pages.listing import list_variants

    click.echo(list_variants(tuple(load_variants(variants).values())))
