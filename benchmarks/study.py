"""A whole study: images per second of a sweep beside the same trainings one after the other by plain `fit`.

    python -m benchmarks.study --rounds 2

`fit` trains all variants in one process, with its own defaults but XLA off; the sweep gives each cell a process of its
own, logs everything and evaluates the training images too. Both are measured whole, from start to exit, and with how
much of all cores' time the machine was busy, which is of use only while nothing else runs on it.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

import click
import psutil

from benchmarks.measure import describe, divide, print_table, run_process

TOML = """
variants = {variants}
seeds = [0]
settings = {{ epochs = {epochs}, subset = {images}, threads = 1 }}
"""
FIT, SWEEP = "`fit`, one after the other", "`sweep`, 2 workers of 1 thread"


class Whole(NamedTuple):
    """Seconds from a program's start to its exit, and the share of all cores' time in which the machine was busy."""

    seconds: float
    busy: float


def run_whole(folder: Path, *words: str) -> Whole:
    """Run `python -m ...` in a store of its own."""
    psutil.cpu_percent()  # counts from here
    seconds = run_process(folder, "-m", *words).seconds
    return Whole(seconds, psutil.cpu_percent() / 100)


def train_study(way: str, variants: list[str], epochs: int, images: int) -> Whole:
    """All variants in one process by `fit`, or all cells by `sweep` in a store that is there already."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if way == FIT:
            return run_whole(folder, "benchmarks.peers.notebook", str(epochs), str(images), *variants, "--no-xla")
        (folder / "study.toml").write_text(TOML.format(variants=variants, epochs=epochs, images=images))
        run_process(folder, "-m", "pipeline", "plan", "study.toml")  # makes the store
        return run_whole(folder, "pipeline", "sweep", "study.toml")


@click.command()
@click.option("--rounds", default=2, show_default=True)
@click.option("--epochs", default=3, show_default=True)
@click.option("--images", default=3000, show_default=True)
def main(rounds: int, epochs: int, images: int) -> None:
    """Print the images per second of both ways."""
    from pipeline.study.variants import published_variants

    variants = [variant.name for variant in published_variants()]
    taken: dict[str, list[Whole]] = {FIT: [], SWEEP: []}
    for _ in range(rounds):
        for way, each in taken.items():
            each.append(train_study(way, variants, epochs, images))
    seconds = {way: [one.seconds for one in each] for way, each in taken.items()}
    trained = len(variants) * epochs * images
    click.echo(f"The {len(variants)} variants, {epochs} epochs of {images} images each; {rounds} rounds in turn.")
    rows = [
        (
            way,
            describe(each, 0),
            f"{trained / statistics.median(each):.0f}",
            f"{divide(seconds[FIT], each):.2f}",
            f"{statistics.median(one.busy for one in taken[way]):.0%}",
        )
        for way, each in seconds.items()
    ]
    print_table(("", "seconds", "images/s", "ratio", "cores busy"), rows)


if __name__ == "__main__":
    main()
