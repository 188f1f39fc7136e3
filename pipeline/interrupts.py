"""SIGINT, SIGTERM and SIGHUP as RunKilled: raised at once, but never in the middle of a write to the store."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.errors import RunKilled

PR_SET_PDEATHSIG = 1
AGAIN_SECONDS = 0.1
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FOLLOW = "PIPELINE_FOLLOW_PARENT"
"""The variable with the process id of the launcher of a sweep's cell."""

_report = sys.unraisablehook
_received: int | None = None
_swallowed = False
_shields = 0
_notices: list[Callable[[], None]] = []


def _handle(number: int, _frame: FrameType | None) -> None:
    """Note the first signal and raise it unless shielded; a second one must not cut the orderly end short."""
    global _received, _swallowed
    if _received is not None and not _swallowed:
        return
    _received, _swallowed = number, False
    for notice in _notices:
        notice()
    if not _shields:
        raise RunKilled(number)


def _report_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise a RunKilled again that a destructor or C callback has swallowed, unless check comes first."""
    global _swallowed
    if not isinstance(unraisable.exc_value, RunKilled):
        _report(unraisable)
        return
    _swallowed = True
    main, number = threading.main_thread().ident, unraisable.exc_value.signal_number
    again = threading.Timer(AGAIN_SECONDS, signal.pthread_kill, (main, number))
    again.daemon = True
    again.start()


def install() -> None:
    """Turn SIGINT, SIGTERM and SIGHUP of this process into RunKilled; under `nohup` a SIGHUP stays ignored."""
    global _received, _swallowed
    _received, _swallowed = None, False
    sys.unraisablehook = _report_unraisable
    signal.signal(signal.SIGINT, _handle)
    signal.signal(signal.SIGTERM, _handle)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _handle)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def follow_launcher() -> None:
    """Under `mlflow run` or a sweep, ask Linux for a SIGTERM when the launcher dies: no training is orphaned.

    Raises RunKilled where the launcher that a sweep names by its process id has died before Linux was asked.
    """
    if sys.platform == "linux" and not {"MLFLOW_RUN_ID", FOLLOW}.isdisjoint(os.environ):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        parent = str(os.getppid())
        if os.environ.get(FOLLOW, parent) != parent:
            raise RunKilled(signal.SIGTERM)


def check() -> None:
    """Raise RunKilled if a signal came; a raise inside a destructor or C callback would have been swallowed."""
    global _swallowed
    if _received is not None:
        _swallowed = False
        raise RunKilled(_received)


@contextmanager
def noticing(notice: Callable[[], None]) -> Iterator[None]:
    """Call `notice` at once when the first signal comes in the block, whose orderly end takes a while.

    It must not write to a stream, which the signal may have found in the middle of a write.
    """
    _notices.append(notice)
    try:
        yield
    finally:
        _notices.remove(notice)


@contextmanager
def blocked() -> Iterator[None]:
    """Let a signal wait until the block is done; threads and processes that start in it never see one.

    A program of this package that is started so takes signals again as soon as it runs (install).
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def shield(*, then_check: bool = True) -> Iterator[None]:
    """Hold signals back until the block is done; then raise what came, unless the caller checks for itself."""
    global _shields
    _shields += 1
    try:
        yield
    finally:
        _shields -= 1
    if then_check and not _shields:
        check()
