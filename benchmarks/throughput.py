"""Images per second of a sweep beside the same cells trained one after the other with plain defaults.

    python -m benchmarks.throughput --rounds 3

trains each variant's cells both ways in turn, in fresh processes and stores, and prints the ratio of medians.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

SUBSET = Path(__file__).parents[1] / "tests" / "mnist-subset.npz"
IMAGES = 2000
TOML = """
variants = ["{variant}"]
seeds = {seeds}
[settings]
epochs = {epochs}
threads = {threads}
data = "{data}"
"""


def call_pipeline(folder: Path, *words: str) -> None:
    """One command of the package, with its store in `folder`."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    subprocess.run([sys.executable, "-m", "pipeline", *words], env=environment, capture_output=True, check=True)


def train_one_by_one(folder: Path, variant: str, seeds: range, epochs: int) -> None:
    """Each cell by `train`, with its defaults."""
    for seed in seeds:
        options = (f"--arch={variant}", f"--seed={seed}", f"--epochs={epochs}", f"--data={SUBSET}")
        call_pipeline(folder, "train", *options)


def sweep_cells(workers: int, threads: int) -> Callable[[Path, str, range, int], None]:
    """All cells by `sweep` with so many workers and threads in each."""

    def run_sweep(folder: Path, variant: str, seeds: range, epochs: int) -> None:
        text = TOML.format(variant=variant, seeds=list(seeds), epochs=epochs, threads=threads, data=SUBSET)
        (folder / "cells.toml").write_text(text)
        call_pipeline(folder, "sweep", str(folder / "cells.toml"), f"--workers={workers}")

    return run_sweep


BASE = "`train`, one by one"
WAYS = {
    BASE: train_one_by_one,
    "`sweep`, 2 workers of 1 thread": sweep_cells(2, 1),
    "`sweep`, 2 workers of 2 threads": sweep_cells(2, 2),
}


def measure_ways(variant: str, template: Path, cells: int, epochs: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, the ways in turn."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, train in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                shutil.copy(template, folder)  # making a database is not what is compared
                began = time.perf_counter()
                train(Path(folder), variant, range(cells), epochs)
                seconds[way].append(time.perf_counter() - began)
    return seconds


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--cells", default=2, show_default=True)
@click.option("--epochs", default=3, show_default=True)
@click.option("--variant", "variants", multiple=True, default=("conv2_3x3", "conv5_3x3_reg", "conv7_3x3"))
def main(rounds: int, cells: int, epochs: int, variants: tuple[str, ...]) -> None:
    """Print the images per second of each way, and its ratio to one by one."""
    click.echo(
        f"{cells} cells of each variant, {epochs} epochs of {IMAGES} images; {rounds} rounds, the ways in turn. "
        "`train` has its default of 2 threads. Seconds from start to exit: medians (least to most).\n"
    )
    click.echo("| variant | | seconds | images/s | ratio |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        call_pipeline(Path(folder), "plan", str(Path(__file__).parents[1] / "experiments" / "smoke.toml"))
        for variant in variants:
            seconds = measure_ways(variant, Path(folder) / "mlflow.db", cells, epochs, rounds)
            plain = statistics.median(seconds[BASE])
            for way, taken in seconds.items():
                middle = statistics.median(taken)
                spread = f"{middle:.1f} ({min(taken):.1f} to {max(taken):.1f})"
                speed = cells * epochs * IMAGES / middle
                click.echo(f"| {variant} | {way} | {spread} | {speed:.0f} | {plain / middle:.2f} |")


if __name__ == "__main__":
    main()
