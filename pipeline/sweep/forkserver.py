"""Processes that have imported all a cell needs: a cell is a fork of one, begins at once, and ends in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from pipeline.interrupts import FOLLOW

PACKAGE = Path(__file__).resolve().parents[1]
FORKS = sys.platform == "linux"  # elsewhere a fork of a process with TensorFlow in it is not safe
IDLE_SECONDS = 60
CELLS = (["-m", "pipeline", "cell"], ["-m", "pipeline", "cells"])
PATIENCE_SECONDS = 15.0
LOOK_SECONDS = 0.05
Ended = tuple[int, str]
"""A process's exit code, -n for a death by signal n, and what it printed."""

_threads = threading.local()


class ForkServer:
    """A `cells` process of this machine, which ends when the thread that started it does."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "cells"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=PACKAGE.parent,
        )

    def serves(self, environment: Mapping[str, str]) -> bool:
        """Whether the process lives, in this environment."""
        return self.environment == environment and self.process.poll() is None

    def run(self, words: Sequence[str]) -> Ended | None:
        """Run the `cell` command with these words; None if the process ended before the cell did."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(list(words)) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        answer = self.process.stdout.readline()
        return tuple(json.loads(answer)) if answer.endswith("\n") else None

    def end(self) -> None:
        """End the process and wait for it."""
        self.process.terminate()
        self.process.communicate()


def run_cell(words: Sequence[str], environment: Mapping[str, str]) -> Ended:
    """Run the `cell` command with these words in a process of its own, a fork of this thread's fork server.

    Where a fork is not safe, or the server has died before the cell has ended, a new interpreter runs it; not if it
    died of SIGTERM.
    """
    if FORKS:
        server: ForkServer | None = getattr(_threads, "server", None)
        if server and not server.serves(environment):
            server.end()
            server = None
        _threads.server = server = server or ForkServer(environment)
        ended = server.run(words)
        if ended is not None:
            return ended
        if server.process.wait() == -signal.SIGTERM:  # the sweep is being stopped
            return 128 + signal.SIGTERM, ""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "cell", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=PACKAGE.parent,
    )
    return done.returncode, done.stdout


def stamp_code() -> Mapping[Path, int]:
    """When each file of the package was last written."""
    return {path: path.stat().st_mtime_ns for path in PACKAGE.rglob("*.py")}


def settle_signals() -> None:
    """Let SIGTERM end a fork server at once, and leave Ctrl-C and a terminal that closes to the sweep and the cells."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def serve_cells(train: Callable[[list[str]], object], code: Mapping[Path, int]) -> None:
    """Be a fork server: for each line of stdin, a JSON list of words, let a fork `train` them and print how it ended.

    Returns in the server when stdin ends or the files are no longer the `code` that it has imported; without a line
    for IDLE_SECONDS it dies of SIGALRM.
    """
    settle_signals()
    os.environ[FOLLOW] = str(os.getpid())
    while True:
        signal.alarm(IDLE_SECONDS)
        line = sys.stdin.readline()
        signal.alarm(0)
        if not line or stamp_code() != code:
            return
        print(json.dumps(_fork_cell(train, json.loads(line))), flush=True)


def _fork_cell(train: Callable[[list[str]], object], words: list[str]) -> Ended:
    """Let a fork of this process train, and wait for its end."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        for stream, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), writing, writing)):
            os.dup2(descriptor, stream)
        os.close(reading)
        train(words)
        sys.exit(0)
    os.close(writing)
    with os.fdopen(reading, errors="replace") as output:
        said = output.read()
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), said


@contextmanager
def ending_cells() -> Iterator[None]:
    """Let no training of this process go on after the block, whatever ends it: each marks its run before it goes.

    Gives up after PATIENCE_SECONDS: Linux then ends those that are left with their workers.
    """
    try:
        yield
    finally:
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
