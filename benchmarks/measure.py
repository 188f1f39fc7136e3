"""What the benchmarks share: programs in processes of their own, and their numbers as GitHub's tables."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

ROOT = Path(__file__).parents[1]
SUBSET = ROOT / "tests" / "mnist-subset.npz"
IN_SCALE = {"MLFLOW_EXPERIMENT_NAME": "scale"}
"""The experiment of single runs; a sweep has its own, and is refused where this names another."""


class Spent(NamedTuple):
    """What one process took: seconds, CPU seconds, the most memory that it held (MB), and both its streams."""

    seconds: float
    cpu: float
    peak: float
    output: str


def surround(folder: Path) -> dict[str, str]:
    """The environment of a process whose store is in `folder`."""
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return {**os.environ, **store, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}


def run_process(folder: Path, *words: str, **more: str) -> Spent:
    """`python WORDS` in `folder` with the store there, and `more` in its environment.

    The caller must be small: what a process held when it was split off counts towards its child's peak.
    """
    command, began = [sys.executable, *words], time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=folder, env=surround(folder) | more, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        printed = output.read()
    if process.returncode:
        raise click.ClickException(f"python {' '.join(words)} ended with exit code {process.returncode}: {printed}")
    return Spent(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, printed)


def describe(values: Sequence[float], digits: int = 2) -> str:
    """The median, with the least and the greatest where there are several; a dash for none."""
    if not values:
        return "-"
    middle, low, high = (f"{each:,.{digits}f}" for each in (statistics.median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def divide(values: Sequence[float], base: Sequence[float]) -> float:
    """The ratio of medians."""
    return statistics.median(values) / statistics.median(base)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A GitHub table, all columns but the first to the right."""
    click.echo(f"\n| {' | '.join(head)} |\n| --- |{' ---: |' * (len(head) - 1)}")
    for row in rows:
        click.echo(f"| {' | '.join(row)} |")
    click.echo()
