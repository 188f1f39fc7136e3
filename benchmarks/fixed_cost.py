"""Where the time around a training goes: conv2_3x3, 2,000 real digits, one epoch, in a fresh process each time.

    python -m benchmarks.fixed_cost --rounds 3

prints the median seconds of each part, wall and CPU, and the share of logging and figures in what is not training.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

SUBSET = Path(__file__).parents[1] / "tests" / "mnist-subset.npz"
LOGGING = ("open the store", "log settings, environment, data", "log epochs and weights", "log figures and model")
ONCE = "create the store (once a project)"
Parts = dict[str, tuple[float, float]]


@contextmanager
def measure(parts: Parts, name: str) -> Iterator[None]:
    """Add the block's wall and CPU seconds to a part."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    before = parts.get(name, (0.0, 0.0))
    parts[name] = before[0] + time.perf_counter() - wall, before[1] + time.process_time() - cpu


def train_in_parts() -> Parts:
    """One whole run as `train` does it, with a clock around each part."""
    parts: Parts = {}
    with measure(parts, ONCE):
        subprocess.run([sys.executable, "-c", "from pipeline.tracking.store import *; open_store()"], check=True)
    with measure(parts, "open the store"):
        from pipeline.study.settings import Settings
        from pipeline.study.variants import find_variant
        from pipeline.tracking.recorder import Recorder, record_run
        from pipeline.tracking.store import open_store

        store = open_store()
    variant, settings = find_variant("conv2_3x3"), Settings(epochs=1, data=str(SUBSET))

    class Timed(Recorder):
        def begin_training(self, summary: str) -> None:
            with measure(parts, "log epochs and weights"):
                super().begin_training(summary)

        def end_epoch(self, epoch: int, metrics: dict[str, float]) -> None:  # type: ignore[override]
            with measure(parts, "log epochs and weights"):
                super().end_epoch(epoch, metrics)

        def show_kernels(self, epoch: int, kernels: object) -> None:
            with measure(parts, "log epochs and weights"):
                super().show_kernels(epoch, kernels)  # type: ignore[arg-type]

    with record_run(store, variant, settings) as recorder:
        with measure(parts, "load the data"):
            from pipeline.data.mnist import load_mnist

            dataset = load_mnist(settings.data)
        with measure(parts, "log settings, environment, data"):
            recorder.log_source(variant, settings)
            recorder.log_dataset(dataset)
        with measure(parts, "import TensorFlow"):
            from pipeline.training.run import train_run
            from pipeline.training.runtime import prepare_runtime

            prepare_runtime(settings.threads)
        with measure(parts, "build, trace and train"):
            result = train_run(variant, settings, dataset, [Timed(store.client, recorder.run_id)])
        with measure(parts, "log figures and model"):
            from pipeline.tracking.artifacts import record_result

            record_result(recorder, variant, settings, dataset, result)
    wall, cpu = parts["build, trace and train"]
    inside = parts["log epochs and weights"]
    epoch = result.history[0]["time/epoch_seconds"]
    parts["build, trace and train"] = wall - inside[0], cpu - inside[1]
    parts["of it the epoch"] = epoch, epoch
    return parts


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--once", is_flag=True, hidden=True)
def main(rounds: int, once: bool) -> None:
    """Measure some fresh processes and print medians."""
    if once:
        click.echo(json.dumps(train_in_parts()))
        return
    measured = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
            environment |= {"PYTHONPATH": str(SUBSET.parents[1]), "TF_CPP_MIN_LOG_LEVEL": "3"}
            command = [sys.executable, "-m", "benchmarks.fixed_cost", "--once"]
            done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True)
        measured.append(json.loads(done.stdout.splitlines()[-1]))
    click.echo(f"{rounds} fresh processes, Python {platform.python_version()}, {os.cpu_count()} cores; medians in s")
    medians = {}
    for name in measured[0]:
        wall, cpu = (statistics.median(parts[name][kind] for parts in measured) for kind in (0, 1))
        medians[name] = wall
        click.echo(f"{name:<36}{wall:8.2f} wall{cpu:8.2f} CPU")
    around = sum(value for name, value in medians.items() if name not in (ONCE, "of it the epoch"))
    around -= medians["of it the epoch"]
    logging = sum(medians[name] for name in LOGGING)
    click.echo(f"logging and figures: {logging:.2f} of {around:.2f} s around the epoch, {logging / around:.0%}")


if __name__ == "__main__":
    main()
