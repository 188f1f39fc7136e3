"""A real `mlflow server`, to be killed and started again at its port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import clear_environment
from tests.rig.postgres import find_free_port

START_SECONDS = 120


class Server:
    """An `mlflow server` of one worker on 127.0.0.1 with a database behind it and artifacts in `folder`.

    The database's URI goes by the environment, where `ps` does not show it.
    """

    def __init__(self, database: str, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.port = find_free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers; the test fails if it does not."""
        environment = clear_environment(
            MLFLOW_BACKEND_STORE_URI=self.database, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"
        )
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )

        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is not None or not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"mlflow server does not start:\n{(self.folder / 'server.log').read_text()}")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL to it and its worker."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(START_SECONDS)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False
