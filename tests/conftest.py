"""What the tests share: real digits, a store of their own and one real training."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import event
from sqlalchemy.engine import Engine

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ROOT = Path(__file__).resolve().parents[1]
SUBSET = ROOT / "tests" / "mnist-subset.npz"
PROJECT_FILES = ("MLproject", "python_env.yaml", "conda.yaml", "pyproject.toml", "README.md")
Start = Callable[..., subprocess.Popen[str]]

os.environ.update({"TF_CPP_MIN_LOG_LEVEL": "3", "MLFLOW_DISABLE_TELEMETRY": "true"})
import_module("pipeline.training")  # before any test imports TensorFlow, which reads its switches then


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have recorded of themselves."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                terminalreporter.write_line(f"{name}: {value}")


@event.listens_for(Engine, "connect")
def do_not_sync(connection: object, _: object) -> None:
    """Let no store of this process wait for the disk; the processes that tests start do."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


def slow(*values: object) -> list[Any]:
    """Values of a parameter, or tuples of several, that are tried with `-m slow`: more of what others show."""
    rows = (value if isinstance(value, tuple) else (value,) for value in values)
    return [pytest.param(*row, marks=pytest.mark.slow) for row in rows]


@pytest.fixture(scope="session")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that all tests of one process share."""
    folder = tmp_path_factory.mktemp("store")

    def guard(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(f"{folder}/mlflow.db"):
            pytest.fail("a plain file's close drops SQLite's locks on the shared store; use copy_database")

    sys.addaudithook(guard)
    return folder


@cache
def make_empty_store() -> bytes:
    """The file of a store with MLflow's tables and nothing in them; MLflow takes a second for each."""
    from pipeline.tracking.mlflow_internals import make_tables

    with TemporaryDirectory() as folder:
        make_tables(Path(folder) / "mlflow.db")
        return (Path(folder) / "mlflow.db").read_bytes()


def enter(folder: Path, patch: pytest.MonkeyPatch) -> str:
    """Go to a folder, which is made, and use the store in it; its address."""
    folder.mkdir(exist_ok=True)
    patch.setattr("pipeline.tracking.store.make_tables", lambda database: database.write_bytes(make_empty_store()))
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    patch.chdir(folder)
    patch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@contextmanager
def entered(folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """The same for a while, for what many tests share."""
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, patch)
        yield patch


@pytest.fixture
def store_uri(store_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The shared store, set as the tracking URI."""
    return enter(store_folder, monkeypatch)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a store of the test's own, in which nothing is."""
    enter(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def client(store_uri: str) -> MlflowClient:
    """What speaks to the shared store."""
    from pipeline.tracking.store import open_store

    return open_store().client


def copy_database(database: Path, folder: Path) -> None:
    """Copy a SQLite file that this process has open: to close it as a plain file would drop SQLite's own locks."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(folder / database.name)) as copy:
        source.backup(copy)


def execute(database: Path, statement: str, *values: object) -> None:
    """Change a SQLite file as somebody may by hand."""
    with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        assert connection.execute(statement, values).rowcount, "it changes something"


def flip_middle(path: Path) -> None:
    """Turn one bit in the middle of a file round."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def call(*arguments: str) -> Result:
    """`python -m pipeline ...` in this process."""
    from pipeline.cli.main import main

    return CliRunner().invoke(main, list(arguments), prog_name="python -m pipeline", catch_exceptions=False)


def succeed(*arguments: str) -> Result:
    """A command that ends well."""
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refuse(*arguments: str, code: int = 1) -> str:
    """The line of a command that ends with one line on standard error, and nothing else."""
    result = call(*arguments)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (code, "", 1), result.output
    return result.stderr


def undraw(patch: pytest.MonkeyPatch) -> None:
    """Let trainings, comparisons and reports leave out their figures, which take half of their time."""
    patch.setattr("pipeline.workflows.train.draw_figures", lambda *_: [])
    patch.setattr("pipeline.workflows.train._ViolinImages.show_kernels", lambda *_: None)
    patch.setattr("pipeline.workflows.compare.draw_comparison", lambda *_: [])
    for name in ("draw_curves", "draw_spreads"):
        patch.setattr(f"pipeline.report.pages.html.{name}", lambda *_: [])


@pytest.fixture
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures, but in a test that is marked `drawn`."""
    if not request.node.get_closest_marker("drawn"):
        undraw(monkeypatch)


@pytest.fixture
def unprobed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that times no steps where nothing has finished: as if they took a microsecond an image."""
    from pipeline.sweep import estimate  # the path "pipeline.sweep" is the function of that name

    monkeypatch.setattr(estimate, "time_in_process", lambda _: 1e-6)


def write_study(
    path: Path, variants: Iterable[str] = ("conv2_3x3",), seeds: Iterable[int] = (0,), **settings: object
) -> Path:
    """The file of an experiment on 600 images of the subset, but for other `settings`."""
    given = {"subset": 600, "threads": 1, "data": str(SUBSET), **settings}
    table = ", ".join(f"{name} = {json.dumps(value)}" for name, value in given.items())
    path.write_text(f"variants = {list(variants)}\nseeds = {list(seeds)}\nsettings = {{ {table} }}\n")
    return path


def clear_environment(**variables: str) -> dict[str, str]:
    """This process's environment without MLflow's variables, so that the default store is used, but for these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true", **variables}


def run_python(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A new interpreter in a folder, with this project's modules: `-m pipeline ...`, or a program after `-c`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)


def read_run_id(output: str) -> str:
    """The id of the run that a training has named first."""
    return re.findall(r"run (\w{32})", output)[0]


@pytest.fixture(scope="session")
def trained(store_folder: Path) -> tuple[str, str]:
    """(run id, output) of one real training of conv2_3x3_reg: two epochs on the subset."""
    with entered(store_folder):
        result = succeed("train", "--arch", "conv2_3x3_reg", "--epochs", "2", "--data", str(SUBSET))
    return read_run_id(result.output), result.output


@pytest.fixture
def logged_model(trained: tuple[str, str], store_uri: str, tmp_path: Path) -> Iterator[Path]:
    """The file of the trained run's logged network; its folder is put back as it was after the test."""
    from pipeline.tracking.store import open_store

    (logged,) = open_store().client.search_logged_models(["0"], f"source_run_id = '{trained[0]}'")
    folder = Path(logged.artifact_location.removeprefix("file://"))
    shutil.copytree(folder, tmp_path / "kept")
    yield folder / "data" / "model.keras"
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "kept", folder)


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


def start_program(folder: Path, *command: str, **variables: str) -> subprocess.Popen[str]:
    """Start a program of the environment in a folder, with the default store of the project there."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        command,
        cwd=folder,
        env=clear_environment(PATH=path, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def start(project: Path) -> Start:
    """Start a program in the project's copy."""
    return partial(start_program, project)
