"""Which process works on a run or cell, whether it lives, and the lease by which one process alone has a cell.

A lease is an entry in the store, which is all that several machines share.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from pipeline.background import repeat
from pipeline.errors import CellTaken
from pipeline.study.tags import BOOT_ID, HEARTBEAT, HOST, PID, PID_STARTED
from pipeline.tracking.quick import Store, store_errors
from pipeline.tracking.values import read_count, read_lease, read_moment, read_number

CLOCK_SECONDS = 1
HEARTBEAT_LIMIT = timedelta(hours=1)
PREFIX = "lease."
LIMIT = timedelta(minutes=10)
REFRESH_SECONDS = 60.0
POLL_SECONDS = 0.2


def identify_process() -> dict[str, str]:
    """What tells later whether this process still lives: host, boot, pid, the process's own start time, and now."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return {
        HOST: socket.gethostname(),
        BOOT_ID: boot.read_text().strip() if boot.is_file() else "",
        PID: str(os.getpid()),
        PID_STARTED: f"{_read_start(psutil.Process()):.2f}",
        HEARTBEAT: format_now(),
    }


def format_now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _read_start(process: psutil.Process) -> float:
    """Seconds from the machine's boot to the process's start, which setting the clock does not change."""
    return float(process.create_time() - psutil.boot_time())


def is_alive(tags: Mapping[str, str], limit: timedelta = HEARTBEAT_LIMIT) -> bool:
    """Whether the process that identify_process described in a run's tags still lives, as far as can be told from here.

    Of another host only the heartbeat is known: one within `limit` counts as alive.
    """
    here = identify_process()
    if tags.get(HOST) != here[HOST]:
        heartbeat = read_moment(tags.get(HEARTBEAT))
        return heartbeat is not None and datetime.now(UTC) - heartbeat < limit
    if tags.get(BOOT_ID) != here[BOOT_ID]:
        return False
    number, started = read_count(tags.get(PID)), read_number(tags.get(PID_STARTED))
    if number is None or started is None:
        return False
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(number)
        same = abs(_read_start(process) - started) < CLOCK_SECONDS
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    return False


@contextmanager
def hold_lease(store: Store, experiment_id: str, cell: str) -> Iterator[None]:
    """Hold the cell of this fingerprint until the block ends; raises CellTaken where another process does.

    An entry is written before the others are read, and held only once there is no other: of two processes at least one
    sees the other. The entry of a process that died counts for nothing.
    """
    from pipeline.tracking.store import STORE_ERRORS

    prefix = f"{PREFIX}{cell[:16]}."
    mine = prefix + uuid.uuid4().hex[:12]

    def renew() -> None:  # for those on other machines; an unreachable store is asked again the next time
        with suppress(*STORE_ERRORS):
            _write_lease(store, experiment_id, mine, held=True)

    try:
        with store_errors(store):
            _take(store, experiment_id, prefix, mine)
        with repeat(renew, REFRESH_SECONDS):
            yield
    finally:
        with suppress(*STORE_ERRORS):
            store.client.delete_experiment_tag(experiment_id, mine)


def _take(store: Store, experiment_id: str, prefix: str, mine: str) -> None:
    """Ask for the lease, and hold it as soon as nobody else asks; raises CellTaken."""
    _write_lease(store, experiment_id, mine, held=False)
    while others := {
        name: lease
        for name, lease in read_leases(store.client.get_experiment(experiment_id).tags, prefix).items()
        if name != mine and is_alive(lease, LIMIT)
    }:
        if min(others) < mine or any(lease.get("held") == "yes" for lease in others.values()):
            other = next(iter(others.values()))
            raise CellTaken(f"the cell is taken by process {other[PID]} on {other[HOST]}; let it end")
        time.sleep(POLL_SECONDS)  # the others see this lease and withdraw, or have held the lease already
    _write_lease(store, experiment_id, mine, held=True)


def read_leases(tags: Mapping[str, str], prefix: str = PREFIX) -> dict[str, dict[str, str]]:
    """Of an experiment's tags the leases of living and dead processes, by name; one that names no process is empty."""
    return {name: read_lease(value) for name, value in tags.items() if name.startswith(prefix)}


def _write_lease(store: Store, experiment_id: str, name: str, *, held: bool) -> None:
    lease = {**identify_process(), "held": "yes" if held else "no"}
    store.client.set_experiment_tag(experiment_id, name, json.dumps(lease))
