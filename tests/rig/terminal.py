"""A program in a real pseudo-terminal of its own: what it shows there, and Ctrl-C as a user types it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.conftest import ROOT

CURSOR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
OVERWRITTEN = re.compile(r"[^\n]*\r(?!\n)")
CTRL_C = b"\x03"


class Terminal:
    """`python -m pipeline ...` in the foreground of a terminal with so many columns."""

    def __init__(self, folder: Path, words: Sequence[str], environment: Mapping[str, str], columns: int = 80) -> None:
        self.master, self.slave = pty.openpty()  # kept until the program has opened it too
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", OPENER, os.ttyname(self.slave), sys.executable, "-m", "pipeline", *words],
            cwd=folder,
            env={**environment, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"},
            stdin=subprocess.DEVNULL,
        )
        self.output = ""

    def read_until(self, pattern: str, seconds: float = 240) -> None:
        """Read until the pattern has been shown; fails if the program ends or takes longer."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.output):
            assert time.monotonic() < deadline, self.output[-3000:]
            assert self._read(), f"it has ended: {self.output[-3000:]}"

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def hang_up(self) -> None:
        """Close the terminal, as a lost connection does."""
        os.close(self.master)
        self.master = -1

    def finish(self, seconds: float = 240) -> int:
        """Read to the end; the exit code, -n for a death by signal n."""
        deadline = time.monotonic() + seconds
        while self.master >= 0 and self._read():
            assert time.monotonic() < deadline, self.output[-3000:]
        code = self.process.wait(seconds)
        if self.master >= 0:
            self.hang_up()
        return code

    def kill(self) -> None:
        """End it where a test has failed."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    @property
    def lines(self) -> list[str]:
        """What was shown, without what was overwritten."""
        return OVERWRITTEN.sub("", CURSOR.sub("", self.output)).replace("\r", "").splitlines()

    def _read(self) -> bool:
        """Read what is there; False when the program has closed the terminal."""
        if not select.select([self.master], [], [], 0.1)[0]:
            return True
        try:
            self.output += os.read(self.master, 65536).decode(errors="replace")
        except OSError:
            return False
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1
        return True


OPENER = """
import os, sys
os.setsid()
terminal = os.open(sys.argv[1], os.O_RDWR)  # the first one that a session leader opens controls it
for stream in (0, 1, 2):
    os.dup2(terminal, stream)
os.execv(sys.argv[2], sys.argv[2:])
"""
