"""A whole study: images per second of a sweep beside the same trainings one after the other by plain `fit`.

    python -m benchmarks.study --rounds 2

`fit` trains all variants in one process, with its own defaults but XLA off; the sweep gives each cell a process of its
own, logs everything and evaluates the training images too. Both are measured whole, from start to exit, and with how
much of all cores' time the machine was busy, which is of use only while nothing else runs on it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click
import psutil

TOML = """
variants = {variants}
seeds = [0]
settings = {{ epochs = {epochs}, subset = {images}, threads = 1 }}
"""


class Spent(NamedTuple):
    """Seconds from a program's start to its exit, and the share of all cores' time in which the machine was busy."""

    seconds: float
    busy: float


def run_whole(folder: str, *words: str) -> Spent:
    """Run `python -m ...` in a store of its own."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "TF_CPP_MIN_LOG_LEVEL": "3"}
    psutil.cpu_percent()  # counts from here
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", *words], env=environment, capture_output=True, check=True)
    return Spent(time.perf_counter() - begun, psutil.cpu_percent() / 100)


def sweep_study(variants: list[str], epochs: int, images: int) -> Spent:
    """All cells by `sweep`, in a store that is there already."""
    with tempfile.TemporaryDirectory() as folder:
        run_whole(folder, "pipeline", "plan", "experiments/smoke.toml")
        file = Path(folder) / "study.toml"
        file.write_text(TOML.format(variants=variants, epochs=epochs, images=images))
        return run_whole(folder, "pipeline", "sweep", str(file))


def fit_study(variants: list[str], epochs: int, images: int) -> Spent:
    """All variants in one process by `fit`."""
    with tempfile.TemporaryDirectory() as folder:
        return run_whole(folder, "benchmarks.peers.notebook", str(epochs), str(images), *variants, "--no-xla")


@click.command()
@click.option("--rounds", default=2, show_default=True)
@click.option("--epochs", default=3, show_default=True)
@click.option("--images", default=3000, show_default=True)
def main(rounds: int, epochs: int, images: int) -> None:
    """Print the images per second of both ways."""
    from pipeline.study.variants import published_variants

    variants = [variant.name for variant in published_variants()]
    ways = {"`fit`, one after the other": fit_study, "`sweep`, 2 workers of 1 thread": sweep_study}
    spent: dict[str, list[Spent]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, train in ways.items():
            spent[name].append(train(variants, epochs, images))
    trained = len(variants) * epochs * images
    base = statistics.median(each.seconds for each in spent["`fit`, one after the other"])
    click.echo(f"The {len(variants)} variants, {epochs} epochs of {images} images each; {rounds} rounds in turn.\n")
    click.echo("| | seconds | images/s | ratio | cores busy |\n| --- | --- | --- | --- | --- |")
    for name, each in spent.items():
        taken, busy = zip(*each, strict=True)
        middle = statistics.median(taken)
        spread = f"{middle:.0f} ({min(taken):.0f} to {max(taken):.0f})"
        click.echo(
            f"| {name} | {spread} | {trained / middle:.0f} | {base / middle:.2f} | {statistics.median(busy):.0%} |"
        )


if __name__ == "__main__":
    main()
