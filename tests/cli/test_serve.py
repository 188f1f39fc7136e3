"""The champion behind MLflow's own server answers as `predict` does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.tracking.files.registry import find_run, register_champion
from pipeline.tracking.store import open_store
from tests.conftest import call
from tests.rig.postgres import find_free_port
from tests.serving.pictures import draw, load_test_digits, save

START_SECONDS = 180


@pytest.fixture
def address(trained: tuple[str, str], store_uri: str, tmp_path: Path) -> Iterator[str]:
    """Where the champion of `served` answers."""
    store = open_store()
    register_champion(store, "served", find_run(store, trained[0]), "# card")
    port = str(find_free_port())
    environment = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    command = ["mlflow", "models", "serve", "-m", "models:/served@champion", "--env-manager", "local", "--port", port]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        await_answer(server, f"http://127.0.0.1:{port}", tmp_path / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(START_SECONDS)


def await_answer(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{address}/ping", timeout=5) as response:
                assert response.status == 200
                return
        except (urllib.error.URLError, OSError):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"mlflow models serve does not start:\n{log.read_text()}")
            time.sleep(0.2)


@pytest.mark.slow
def test_the_server_answers_as_predict_does(address: str, tmp_path: Path) -> None:
    pictures = [
        str(save(draw(digit, 90, 20, dark_on_light=True), tmp_path / f"{place}.png"))
        for place, digit in enumerate(load_test_digits(8))
    ]
    body = call("predict", *pictures, "--model", "served", "--request").stdout.encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        served = np.array(json.loads(response.read())["predictions"])
    printed = call("predict", *pictures, "--model", "served").stdout.splitlines()[1:]
    assert served.shape == (8, 10)
    assert [int(line.split()[0]) for line in printed] == served.argmax(axis=1).tolist()
    assert np.allclose(served, [[float(number) for number in line.split()[-10:]] for line in printed], atol=0.0051)
