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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

SUBSET = Path(__file__).parents[1] / "tests" / "mnist-subset.npz"
LOGGING = ("open the store", "log settings, environment, data", "log epochs and weights", "log figures, predictions")
ONCE = "create the store (once a project)"
Parts = dict[str, tuple[float, float]]


@contextmanager
def measure(parts: Parts, name: str) -> Iterator[None]:
    """Add the block's wall and CPU seconds to a part."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    before = parts.get(name, (0.0, 0.0))
    parts[name] = before[0] + time.perf_counter() - wall, before[1] + time.process_time() - cpu


def measure_calls(parts: Parts, name: str, method: Callable[..., None]) -> Callable[..., None]:
    """The function or method with the clock of a part around it."""

    def call(*arguments: object) -> None:
        with measure(parts, name):
            method(*arguments)

    return call


def train_in_parts() -> Parts:
    """One whole run as `train` does it, with a clock around each part."""
    parts: Parts = {}
    with measure(parts, ONCE):
        subprocess.run([sys.executable, "-c", "from pipeline.tracking.store import *; open_store()"], check=True)
    with measure(parts, "import MLflow, pandas, seaborn"):
        from pipeline.study.settings import Settings
        from pipeline.study.variants import find_variant
        from pipeline.tracking.recorder import Recorder, record_run
        from pipeline.tracking.store import open_store

    with measure(parts, "open the store"):
        store = open_store()
    variant, settings = find_variant("conv2_3x3"), Settings(epochs=1, data=str(SUBSET))

    timed = {
        name: measure_calls(parts, "log epochs and weights", getattr(Recorder, name))
        for name in ("begin_training", "end_epoch", "show_kernels")
    }
    observer = type("TimedRecorder", (Recorder,), timed)
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
            result = train_run(variant, settings, dataset, [observer(store.client, recorder.run_id)])
            from pipeline.tracking import artifacts
        with measure(parts, "log figures, predictions"):
            artifacts.record_model = measure_calls(parts, "log the model", artifacts.record_model)
            artifacts.record_result(recorder, variant, settings, dataset, result)
    for outer, part in (
        ("build, trace and train", "log epochs and weights"),
        ("log figures, predictions", "log the model"),
    ):
        parts[outer] = parts[outer][0] - parts[part][0], parts[outer][1] - parts[part][1]
    epoch = result.history[0]["time/epoch_seconds"]
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
