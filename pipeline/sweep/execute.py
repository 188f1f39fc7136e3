"""Run cells on Dask: each in a process of its own, so that one that fails or dies takes nothing with it."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import resource_tracker

import dask
from distributed import Client, Future, LocalCluster, Security, as_completed

from pipeline.background import repeat
from pipeline.errors import CellTaken, StoreError, StoreUnreachable
from pipeline.interrupts import FOLLOW, blocked
from pipeline.sweep.cells import Cell
from pipeline.sweep.forkserver import ending_cells, run_cell

CONNECT_SECONDS = 30
CONFIGURATION = {
    "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s",
    "distributed.scheduler.allowed-failures": 1000,  # a worker that dies is not a fault of its cell
    # Dask watches itself up to a hundred times a second, which takes a tenth of two cores from the cells.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.worker.memory.monitor-interval": "1s",
    # Dask's web pages show what is run to every user of the machine, and there is no login.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.deploy.lost-worker-timeout": "2s",
}
NO_PAGES = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
"""Without an address Dask tries its usual port, and warns where another sweep has it."""
STARTS = 3
LOOK_SECONDS = 5.0
UNREACHABLE_SECONDS = 300.0
PAUSE_SECONDS = 5.0
KILLED = (129, 130, 143)  # a signal to stop is not a failure to repeat
FORWARDED = ("MLFLOW_", "XDG_", "PIPELINE_")
SECRET = ("PASSWORD", "TOKEN", "SECRET", "_URI")
"""Workers elsewhere have their own secrets: what a task is given may end in Dask's logs."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker needs to run one cell: the words of the `cell` command and the environment."""

    name: str
    words: Sequence[str]
    environment: dict[str, str] = field(repr=False)  # Dask logs what a task was given
    attempts: int


@dataclass(frozen=True, kw_only=True)
class CellReport:
    """How one cell's process ended, and the last line it said."""

    name: str
    returncode: int
    seconds: float
    message: str


@contextmanager
def open_cluster(workers: int, scheduler: str | None) -> Iterator[Client]:
    """A running cluster's client, or that of a cluster of so many local processes; raises StoreError.

    Who reaches a Dask process can let it run any code. So the local ones talk by TLS, with a key and a certificate that
    are in the memory of these processes alone; those elsewhere take the files that Dask's own configuration names.
    """
    with dask.config.set(CONFIGURATION):
        if scheduler:
            try:
                client = Client(scheduler, timeout=CONNECT_SECONDS)
            except (OSError, ValueError, TimeoutError) as error:
                raise StoreError(f"no Dask scheduler answers at {scheduler}; start one by `dask scheduler`") from error
            except TypeError as error:  # Dask has no certificates for an address with tls://
                raise StoreError(
                    f"Dask has no TLS certificates for {scheduler}; see docs/several-machines.md"
                ) from error
            with client:
                yield client
            return
        # Dask gives up for good a worker that died while it was restarted: scaling again replaces it.
        with (
            _start_workers(workers) as cluster,
            ending_cells(),
            Client(cluster) as client,
            repeat(partial(cluster.scale, workers), LOOK_SECONDS),
        ):
            yield client


def _start_workers(workers: int) -> LocalCluster:
    """So many local processes, for this user alone; raises StoreError where they do not start.

    A worker that is killed while it starts takes the whole cluster with it, so that is tried again.
    """
    options = {"n_workers": workers, "threads_per_worker": 1, "host": "127.0.0.1", "scheduler_kwargs": NO_PAGES}
    options |= {"processes": True, "silence_logs": logging.CRITICAL}  # what happens to a cell is told by its report
    resource_tracker.ensure_running()  # its first start, which the workers' would bring, unblocks SIGINT and SIGTERM
    for attempt in range(1, STARTS + 1):
        try:
            with blocked():  # else Ctrl-C ends the workers too, before they can report their cells
                return LocalCluster(security=Security.temporary(), **options)
        except (RuntimeError, OSError) as error:
            logger.debug("start %d of the workers failed", attempt, exc_info=True)
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise StoreError(f"the workers do not start ({reason}); is there memory for {workers}? choose fewer with --workers")


def run_cells(client: Client, cells: Sequence[Cell], words: Sequence[str], attempts: int) -> Iterator[CellReport]:
    """Run the cells in their order, and report each as it ends, however it ends.

    `words` are those of the `cell` command that all cells share. A cell that another sweep trains is tried again after
    the others, until it is done.
    """
    environment = forward_environment()
    jobs: dict[Future, tuple[int, Job]] = {}
    for place, cell in enumerate(cells):
        own = [*words, cell.variant.name, str(cell.settings.seed)]
        job = Job(name=cell.name, words=own, environment=environment, attempts=attempts)
        jobs[client.submit(run_process, job, key=f"cell-{cell.fingerprint}", priority=-place)] = place, job
    waiting = as_completed(list(jobs), with_results=True, raise_errors=False)
    for future, report in waiting:
        place, job = jobs.pop(future)
        if not isinstance(report, CellReport):
            yield CellReport(name=job.name, returncode=1, seconds=0.0, message=f"its worker failed: {report}")
        elif report.returncode == CellTaken.exit_code:
            again = client.submit(run_process, job, PAUSE_SECONDS, priority=-len(cells) - place, pure=False)
            jobs[again] = place, job
            waiting.add(again)
        else:
            yield report


def forward_environment() -> dict[str, str]:
    """The variables of this process that decide where a cell writes, without secrets."""
    names = [name for name in os.environ if name.startswith(FORWARDED) and not any(part in name for part in SECRET)]
    return {name: os.environ[name] for name in (*names, "MLFLOW_TRACKING_URI") if name in os.environ}


def run_process(job: Job, pause: float = 0.0) -> CellReport:
    """Run one cell in a process of its own on a worker, again if it fails, at most `attempts` times.

    An unreachable store is not a failure of the cell: it is tried again for UNREACHABLE_SECONDS.
    """
    time.sleep(pause)
    started, failures = time.monotonic(), 0
    unreachable_until = 0.0
    while True:
        began = time.monotonic()
        returncode, lines = start_cell(job)
        if returncode == StoreUnreachable.exit_code:
            if not unreachable_until or time.monotonic() > began + UNREACHABLE_SECONDS:  # another outage
                unreachable_until = time.monotonic() + UNREACHABLE_SECONDS
            if time.monotonic() < unreachable_until:
                time.sleep(PAUSE_SECONDS)
                continue
        failures += 1
        if returncode in (0, CellTaken.exit_code, *KILLED) or failures >= job.attempts:
            break
    return CellReport(
        name=job.name, returncode=returncode, seconds=time.monotonic() - started, message=_explain(returncode, lines)
    )


def start_cell(job: Job) -> tuple[int, list[str]]:
    """Run the `cell` command once; its exit code, -n for a death by signal n, and the lines it said."""
    returncode, said = run_cell(job.words, {**os.environ, **job.environment, FOLLOW: str(os.getpid())})
    return returncode, [line for line in said.splitlines() if line.strip()]


def _explain(returncode: int, lines: Sequence[str]) -> str:
    """The last line of a cell, or what stopped or killed it."""
    if returncode in KILLED:
        return f"stopped by {signal.Signals(returncode - 128).name}; start the sweep again to continue it"
    if returncode < 0:
        hint = " (out of memory?)" if returncode == -signal.SIGKILL else ""
        return f"died of {signal.Signals(-returncode).name}{hint}; start the sweep again to continue it"
    return lines[-1] if lines else "said nothing"
