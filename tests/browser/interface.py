"""`python -m pipeline ui` as a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, clear_environment

STOP_SECONDS = 120


class Interface:
    """The interface on a store, at a free port; `line` is what it printed, `address` and `page` are what it names."""

    def __init__(self, uri: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "ui", "--port", "0"],
            cwd=folder,
            env=clear_environment(MLFLOW_TRACKING_URI=uri, PYTHONPATH=str(ROOT)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.line = self.process.stdout.readline()
        self.page = self.line.partition(" ")[0]
        self.address = self.page.partition("/#")[0]

    def stop(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; (exit code, what it printed after its first line)."""
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=STOP_SECONDS)
        return self.process.returncode, output

    def kill(self) -> None:
        """End it, whatever state it is in."""
        self.process.kill()
        self.process.communicate()
