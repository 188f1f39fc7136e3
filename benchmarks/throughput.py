"""Images per second of a sweep beside the same cells trained one after the other with plain defaults.

    python -m benchmarks.throughput --rounds 3

trains each variant's cells both ways in turn, in fresh processes and stores, and prints the ratio of medians.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks.measure import SUBSET, describe, divide, print_table, run_process

IMAGES = 2000
TOML = """
variants = ["{variant}"]
seeds = {seeds}
[settings]
epochs = {epochs}
threads = {threads}
data = "{data}"
"""


def train_one_by_one(folder: Path, variant: str, seeds: range, epochs: int) -> None:
    """Each cell by `train`, with its defaults."""
    for seed in seeds:
        options = (f"--arch={variant}", f"--seed={seed}", f"--epochs={epochs}", f"--data={SUBSET}")
        run_process(folder, "-m", "pipeline", "train", *options)


def sweep_cells(workers: int, threads: int) -> Callable[[Path, str, range, int], None]:
    """All cells by `sweep` with so many workers and threads in each."""

    def run_sweep(folder: Path, variant: str, seeds: range, epochs: int) -> None:
        text = TOML.format(variant=variant, seeds=list(seeds), epochs=epochs, threads=threads, data=SUBSET)
        (folder / "cells.toml").write_text(text)
        run_process(folder, "-m", "pipeline", "sweep", "cells.toml", f"--workers={workers}")

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
        "`train` has its default of 2 threads. Seconds from start to exit: medians (least to most)."
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        text = TOML.format(variant=variants[0], seeds=[0], epochs=epochs, threads=1, data=SUBSET)
        (Path(folder) / "cells.toml").write_text(text)
        run_process(Path(folder), "-m", "pipeline", "plan", "cells.toml")  # makes the store
        for variant in variants:
            seconds = measure_ways(variant, Path(folder) / "mlflow.db", cells, epochs, rounds)
            for way, taken in seconds.items():
                speed = f"{cells * epochs * IMAGES / statistics.median(taken):.0f}"
                rows.append((variant, way, describe(taken, 1), speed, f"{divide(seconds[BASE], taken):.2f}"))
    print_table(("variant", "way", "seconds", "images/s", "ratio"), rows)


if __name__ == "__main__":
    main()
