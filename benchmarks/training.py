"""What an epoch and its batches take, beside what users would otherwise run.

    python -m benchmarks.training --rounds 3

trains each variant each way in turn, every time in a fresh process with its own defaults, and compares medians over
the rounds of the mean epochs. First epochs, which compile, are left out.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from benchmarks.measure import describe, divide, print_table, surround

VARIANTS = ("conv2_3x3", "conv5_3x3_reg", "conv7_3x3")
OURS, BASE = "this pipeline, all logged", "`fit`, XLA off"
NOTEBOOK = "benchmarks.peers.notebook"
PEERS = {
    BASE: (NOTEBOOK, "--no-xla"),
    "`fit` with `mlflow.autolog`, XLA off": (NOTEBOOK, "--no-xla", "--autolog"),
    "`fit`, Keras's defaults (XLA)": (NOTEBOOK,),
    "PyTorch, channels_last, fused Adam": ("benchmarks.peers.torch_loop",),
}
GEMM = 2048
ENDED = "SELECT value FROM metrics WHERE key = 'time/train_seconds' AND step > 1"


class Seconds(NamedTuple):
    """Means over the epochs of one process: a whole epoch with all that follows it, and its batches alone."""

    epoch: float
    batches: float


def read_lines(folder: str, *words: str) -> Iterator[tuple[float, str]]:
    """The lines that `python -m ...` prints, each with the moment when it came."""
    environment = surround(Path(folder))
    environment.pop("TF_ENABLE_ONEDNN_OPTS", None)  # a choice of ours, which the peers' users do not make
    command = [sys.executable, "-m", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout
        for line in process.stdout:
            yield time.perf_counter(), line
    if process.returncode:
        raise click.ClickException(f"{' '.join(command)} failed")


def measure_epochs(lines: list[float]) -> float:
    """Mean seconds from the end of one epoch to that of the next: some epochs draw figures, others do not."""
    return statistics.mean(np.diff(lines))


def train_ours(variant: str, epochs: int, images: int) -> Seconds:
    """The command that users type, in a store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        options = (f"--arch={variant}", f"--epochs={epochs}", f"--subset={images}")
        lines = [moment for moment, line in read_lines(folder, "pipeline", "train", *options) if line[:6] == "epoch "]
        with closing(sqlite3.connect(f"{folder}/mlflow.db")) as store:
            batches = [row[0] for row in store.execute(ENDED)]
    return Seconds(measure_epochs(lines), statistics.mean(batches))


def train_peer(*words: str) -> Callable[[str, int, int], Seconds]:
    """One of benchmarks/peers."""

    def train(variant: str, epochs: int, images: int) -> Seconds:
        module, *flags = words
        with tempfile.TemporaryDirectory() as folder:
            arguments = (str(epochs), str(images), variant, *flags)
            lines = [item for item in read_lines(folder, module, *arguments) if item[1].startswith("{")]
        batches = [json.loads(line)["train"] for _, line in lines[1:]]
        return Seconds(measure_epochs([moment for moment, _ in lines]), statistics.mean(batches))

    return train


def measure_gemm() -> float:
    """GFLOP/s of this machine in float32 matrix products, best of ten: what no network can exceed."""
    one, two = (np.random.default_rng(seed).random((GEMM, GEMM), np.float32) for seed in (0, 1))
    seconds = []
    for _ in range(10):
        begun = time.perf_counter()
        one @ two
        seconds.append(time.perf_counter() - begun)
    return 2 * GEMM**3 / min(seconds) / 1e9


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--epochs", default=3, show_default=True)
@click.option("--images", default=2000, show_default=True)
@click.option("--variant", "variants", multiple=True, default=VARIANTS)
@click.option("--without", multiple=True, help="Leave out the ways whose name has this in it.")
def main(rounds: int, epochs: int, images: int, variants: tuple[str, ...], without: tuple[str, ...]) -> None:
    """Print a table for each variant."""
    from pipeline.study.variants import find_variant
    from pipeline.sweep.estimate import count_work

    ways = {OURS: train_ours, **{name: train_peer(*words) for name, words in PEERS.items()}}
    ways = {name: train for name, train in ways.items() if not any(word in name for word in without)}
    click.echo(
        f"{images} images of MNIST and {images // 6} for validation, batches of 128; means of the {epochs - 1} epochs "
        f"after the first in each of {rounds} new processes a way, the ways in turn. Medians of the processes (least "
        f"to most); ratios to {BASE}. "
        "Ours evaluates the training images too, which `fit` does not: all of them where there are no more than 10,000."
    )
    for variant in variants:
        seconds: dict[str, list[Seconds]] = {name: [] for name in ways}
        gemm = []
        for _ in range(rounds):
            gemm.append(measure_gemm())
            for name, train in ways.items():
                seconds[name].append(train(variant, epochs, images))
        rows, base = [], list(zip(*seconds[BASE], strict=True))
        for name, taken in seconds.items():
            epoch, batches = zip(*taken, strict=True)
            speed = 2e-9 * count_work(find_variant(variant), images) / statistics.median(batches)
            share = f"{speed:.0f}, {speed / statistics.median(gemm):.0%}"
            ratios = f"{divide(epoch, base[0]):.2f}", f"{divide(batches, base[1]):.2f}"
            rows.append((name, describe(epoch), ratios[0], describe(batches), ratios[1], share))
        print_table((variant, "an epoch (s)", "ratio", "its batches (s)", "ratio", "GFLOP/s, of GEMM's"), rows)


if __name__ == "__main__":
    main()
