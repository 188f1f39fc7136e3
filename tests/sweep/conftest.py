"""A store in which the tests of the doctor make their runs."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from pipeline.tracking.process import identify_process
from pipeline.tracking.store import Store, find_experiment, open_store
from tests.conftest import enter
from tests.sweep.sick import OLD


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store that only these tests write to."""
    return tmp_path_factory.mktemp("doctor")


@pytest.fixture
def store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    enter(folder, monkeypatch)
    return open_store()


@pytest.fixture
def study(store: Store, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a fresh experiment, set as the one that runs are made in."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    find_experiment(store, request.node.name, create=True)
    return str(request.node.name)


@pytest.fixture(scope="session")
def dead() -> dict[str, str]:
    """Tags of a process of this machine that has ended."""
    process = subprocess.Popen(["true"])
    started = time.time()
    process.wait()
    return {**identify_process(), "pid": str(process.pid), "pid_started": f"{started:.2f}", "heartbeat": OLD}
