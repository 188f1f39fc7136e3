"""How many pictures of a digit are answered right, by kind of picture: rendered from MNIST's test digits, seeded.

    python -m benchmarks.pictures --digits 100

Two networks are trained for it, one for each normalisation; --run takes one that the tracking store has instead.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from benchmarks.measure import print_table, run_process
from benchmarks.rendering import KINDS, Digit, render_kind, render_two
from pipeline.data.datasets import load_data
from pipeline.errors import DataError
from pipeline.serving.image import read_digit

TRAINING = ("--arch=conv2_3x3", "--epochs=3", "--subset=12000", "--threads=2")
NORMALIZATIONS = ("l2", "scale")
TWO, HALF = "two digits", "a digit and half of another"


class Read(NamedTuple):
    """What was read of a picture: the 28x28, None where it was refused, and whether it was warned of other parts."""

    digit: Digit | None
    warned: bool


def read_kind(kind: str, digits: Digit, place: int) -> Read:
    """The picture of one digit, and for the kinds with two also of the next one, rendered and read."""
    rng = np.random.default_rng(place)
    if kind in (TWO, HALF):
        picture = render_two((digits[place], digits[(place + 1) % len(digits)]), rng, kind == HALF)
    else:
        picture = render_kind(kind, digits[place], rng)
    try:
        reading = read_digit(np.asarray(picture, np.float32) / np.float32(255))
    except DataError:
        return Read(None, warned=False)
    return Read(reading.digit, warned=reading.others > 0)


def train_networks(folder: Path) -> list[str]:
    """The ids of two fresh runs in a store in `folder`, which the tracking URI then names."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
    runs = []
    for normalization in NORMALIZATIONS:
        options = (*TRAINING, f"--normalization={normalization}")
        printed = run_process(folder, "-m", "pipeline", "train", *options).output
        found = re.search(r"; run (\w+)", printed)
        assert found, printed
        runs.append(found[1])
    return runs


def measure(runs: Sequence[str], number: int) -> None:
    """Print the table of all kinds for these runs."""
    from pipeline.serving.predict import load_verified, predict_images
    from pipeline.tracking.files.registry import find_run
    from pipeline.tracking.store import open_store

    raw = load_data().raw
    digits, labels = raw.x_test[:number], raw.y_test[:number]
    with ProcessPoolExecutor() as pool:
        read = {
            kind: list(pool.map(partial(read_kind, kind, digits), range(number), chunksize=8))
            for kind in (*KINDS, TWO, HALF)
        }
    found = [find_run(open_store(), run) for run in runs]
    networks = [load_verified(run) for run in found]

    def count_right(seen: Sequence[Digit | None]) -> list[str]:
        """By network, how many of these are named right."""
        shown = np.array([place for place, each in enumerate(seen) if each is not None], int)
        stack = np.stack([each for each in seen if each is not None]) if len(shown) else np.zeros((0, 28, 28), np.uint8)
        return [
            str(int((predict_images(network, stack, run.normalization).argmax(axis=1) == labels[shown]).sum()))
            for network, run in zip(networks, found, strict=True)
        ]

    rows = [("MNIST's own arrays", *count_right(list(digits)), "-", "-")]
    for kind, each in read.items():
        right = ["-"] * len(runs) if kind in (TWO, HALF) else count_right([one.digit for one in each])
        refused, warned = sum(one.digit is None for one in each), sum(one.warned for one in each)
        rows.append((kind, *right, str(refused), str(warned)))
    names = [f"{run.variant}, {run.normalization}: right" for run in found]
    click.echo(
        f"The first {number} test digits, each rendered once a kind (seed: its place); networks: {' '.join(TRAINING)}. "
        "*Warned*: it was said that the picture shows several parts that may be digits."
    )
    print_table(("kind", *names, "refused", "warned"), rows)


@click.command()
@click.option("--digits", type=click.IntRange(2, 10_000), default=100, show_default=True)
@click.option("--run", "runs", multiple=True, help="A finished run of the tracking store; else two are trained.")
def main(digits: int, runs: tuple[str, ...]) -> None:
    """Render, read and predict; print a GitHub table."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with tempfile.TemporaryDirectory() as folder:
        measure(runs or train_networks(Path(folder)), digits)


if __name__ == "__main__":
    main()
