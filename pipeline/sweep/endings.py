"""End a sweep's processes on this machine in order: each training marks its run before it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

CELLS = (["-m", "pipeline", "cell"], ["-m", "pipeline", "cells"])
PATIENCE_SECONDS = 15.0
LOOK_SECONDS = 0.05


@contextmanager
def ending_cells() -> Iterator[None]:
    """Let no training of this process go on after the block, whatever ends it."""
    try:
        yield
    finally:
        end_cells()


def end_cells() -> None:
    """Send SIGTERM to each training below this process, and wait until it has ended its run and is gone.

    Gives up after PATIENCE_SECONDS: Linux then ends those that are left with their workers.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    signalled: set[psutil.Process] = set()
    while (found := _find_trainings()) and time.monotonic() < deadline:
        for process in found - signalled:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        signalled |= found
        time.sleep(LOOK_SECONDS)


def _find_trainings() -> set[psutil.Process]:
    """The `cell` and `cells` processes below this one that have none below themselves; zombies are gone already."""
    found, parents = set(), set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.cmdline()[1:4] in CELLS and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process)
                parents.add(process.ppid())
    return {process for process in found if process.pid not in parents}
