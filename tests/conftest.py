"""What the tests share: real digits, a store of their own and one real training."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

ROOT = Path(__file__).resolve().parents[1]
SUBSET = ROOT / "tests" / "mnist-subset.npz"
PROJECT_FILES = ("MLproject", "python_env.yaml", "conda.yaml", "pyproject.toml", "README.md")

os.environ.update({"TF_CPP_MIN_LOG_LEVEL": "3", "MLFLOW_DISABLE_TELEMETRY": "true"})
import_module("pipeline.training")  # before any test imports TensorFlow, which reads its switches then


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have recorded of themselves."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that all tests of one process share."""
    folder = tmp_path_factory.mktemp("store")

    def guard(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(f"{folder}/mlflow.db"):
            pytest.fail("a plain file's close drops SQLite's locks on the shared store; use copy_database")

    sys.addaudithook(guard)
    return folder


def enter(folder: Path, patch: pytest.MonkeyPatch) -> str:
    """Go to a folder and use the store in it; its address."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    patch.chdir(folder)
    patch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture
def store_uri(store_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The shared store, set as the tracking URI."""
    return enter(store_folder, monkeypatch)


def copy_database(database: Path, folder: Path) -> None:
    """Copy a SQLite file that this process has open: to close it as a plain file would drop SQLite's own locks."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(folder / database.name)) as copy:
        source.backup(copy)


def call(*arguments: str) -> Result:
    """`python -m pipeline ...` in this process."""
    from pipeline.cli.main import main

    return CliRunner().invoke(main, list(arguments), prog_name="python -m pipeline", catch_exceptions=False)


@pytest.fixture(scope="session")
def trained(store_folder: Path) -> tuple[str, str]:
    """(run id, output) of one real training of conv2_3x3_reg: two epochs on the subset."""
    with pytest.MonkeyPatch.context() as patch:
        enter(store_folder, patch)
        result = call("train", "--arch", "conv2_3x3_reg", "--epochs", "2", "--data", str(SUBSET))
    assert result.exit_code == 0, result.output
    return result.output.partition("run ")[2].split()[0], result.output


def copy_project(folder: Path) -> None:
    """What a clone would have of the project, without most of its tests."""
    shutil.copytree(ROOT / "pipeline", folder / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    for name in PROJECT_FILES:
        shutil.copy(ROOT / name, folder)
    (folder / "tests").mkdir()
    shutil.copy(SUBSET, folder / "tests")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project in an empty folder, as a clone would be."""
    copy_project(tmp_path)
    return tmp_path


@pytest.fixture
def start(project: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a program of the environment in the project's copy, with the default store there."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"

    def start_program(*command: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=project,
            env={**environment, "MLFLOW_DISABLE_TELEMETRY": "true", **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return start_program
