"""Run cells on Dask: each in a fresh process of its own, so that one that fails or dies takes nothing with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dask
from distributed import Client, Future, LocalCluster, as_completed

from pipeline.errors import StoreError
from pipeline.interrupts import FOLLOW
from pipeline.sweep.cells import Cell

CONNECT_SECONDS = 30
KILLED = (130, 143)  # a signal to stop is no failure to repeat


@dataclass(frozen=True, kw_only=True)
class CellReport:
    """How one cell's process ended, and the last line it said."""

    name: str
    returncode: int
    seconds: float
    message: str


@contextmanager
def open_cluster(workers: int, scheduler: str | None) -> Iterator[Client]:
    """A running cluster's client, or that of a cluster of so many local processes; raises StoreError."""
    with dask.config.set({"distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s"}):
        if scheduler:
            try:
                client = Client(scheduler, timeout=CONNECT_SECONDS)
            except (OSError, ValueError, TimeoutError) as error:
                raise StoreError(f"no Dask scheduler answers at {scheduler}; start one by `dask scheduler`") from error
            with client:
                yield client
            return
        settings = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(processes=True, host="127.0.0.1", **settings) as cluster, Client(cluster) as client:
            yield client


def run_cells(client: Client, cells: Sequence[Cell], experiment: str, attempts: int) -> Iterator[CellReport]:
    """Run the cells in their order, and report each as it ends, however it ends."""
    environment = {name: value for name, value in os.environ.items() if name.startswith(("MLFLOW_", "XDG_"))}
    futures: list[Future] = []
    for place, cell in enumerate(cells):
        words = [experiment, cell.variant.name, str(cell.settings.seed)]
        futures.append(
            client.submit(
                run_process, cell.name, words, environment, attempts, key=f"cell-{cell.fingerprint}", priority=-place
            )
        )
    for _, report in as_completed(futures, with_results=True, raise_errors=False):
        if isinstance(report, CellReport):
            yield report


def run_process(name: str, words: Sequence[str], environment: dict[str, str], attempts: int) -> CellReport:
    """Run one cell in a fresh process on a worker, again if it fails, at most `attempts` times."""
    command = [sys.executable, "-m", "pipeline", "cell", *words]
    started = time.monotonic()
    for _ in range(attempts):
        done = subprocess.run(
            command,
            env={**os.environ, **environment, FOLLOW: "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        )
        if done.returncode in (0, *KILLED):
            break
    lines = [line for line in done.stdout.splitlines() if line.strip()] or ["said nothing"]
    return CellReport(
        name=name,
        returncode=done.returncode,
        seconds=time.monotonic() - started,
        message=lines[-1],
    )
