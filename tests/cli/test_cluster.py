"""A sweep on machines that a hand has started: a Dask scheduler, two workers, an `mlflow server` on PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.cli.test_mlflow_run import wait_for
from tests.cli.test_sweep import read_cells
from tests.conftest import ROOT, SUBSET, Start, run_python, write_study
from tests.rig.postgres import find_free_port
from tests.rig.server import Server

pytest_plugins = ("tests.rig.fixtures",)
pytestmark = pytest.mark.slow

VARIANTS = ("conv2_3x3", "conv2_3x3_reg")
EPOCHS = 3


@pytest.fixture
def scheduler(project: Path, start: Start) -> Iterator[str]:
    """The address of a scheduler with two workers, each a process of its own."""
    address = f"tcp://127.0.0.1:{find_free_port()}"
    port, common = address.rpartition(":")[2], ("--host", "127.0.0.1", "--no-dashboard")
    programs = [("scheduler", "--port", port), *2 * [("worker", address, "--nthreads", "1", "--nworkers", "1")]]
    processes = []
    for number, (program, *options) in enumerate(programs):
        with (project / f"dask-{number}.log").open("w") as log:
            command = [sys.executable, "-m", "dask", program, *options, *common]
            environment = {**os.environ, "PYTHONPATH": str(project)}
            processes.append(
                subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=log, start_new_session=True)
            )
    try:
        yield address
    finally:
        for process in reversed(processes):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)


def count_points(uri: str, run_id: str) -> dict[str, list[int]]:
    """The steps of each metric that is measured by epoch."""
    client = MlflowClient(uri)
    names = [name for name in client.get_run(run_id).data.metrics if not name.startswith("final/")]
    return {name: sorted(point.step for point in client.get_metric_history(run_id, name)) for name in names}


def await_checkpoint(project: Path) -> None:
    """Wait until a cell has trained an epoch."""
    deadline = time.monotonic() + 180
    while not list(project.glob("mlruns/.checkpoints/*/epoch-*")):
        assert time.monotonic() < deadline, "no cell trains"
        time.sleep(0.05)


def train_undisturbed(folder: Path, variant: str, seed: str) -> str:
    """The weights' hash of one cell's training, by hand and on SQLite."""
    options = (f"--arch={variant}", f"--seed={seed}", f"--epochs={EPOCHS}", "--subset=600", "--threads=1")
    words = ("-m", "pipeline", "train", *options, f"--data={SUBSET}")
    done = run_python(ROOT, *words, MLFLOW_TRACKING_URI=f"sqlite:///{folder / 'mlflow.db'}")
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("weights sha256 ")[2].split()[0]


def test_two_workers_and_a_server_that_is_killed_twice_do_every_cell_once(
    project: Path, start: Start, scheduler: str, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write_study(project / "cluster.toml", VARIANTS, range(2), epochs=EPOCHS)
    sweep = ("python", "-m", "pipeline", "sweep", "cluster.toml", "--scheduler", scheduler, "--attempts", "5")
    driver = start(*sweep, MLFLOW_TRACKING_URI=server.uri)
    output = wait_for(driver, "cluster: 4 cells, 0 finished")
    await_checkpoint(project)
    server.kill()  # one worker trains, the other does or is about to
    server.start()
    output += wait_for(driver, "1/4")
    server.kill()  # the next cell is about to open the store
    server.start()
    output += driver.communicate(timeout=600)[0]
    assert driver.returncode == 0, output
    runs = read_cells(server.uri, "cluster")
    assert set(runs["outcome"]) <= {"finished", "failed"}, output  # an attempt may fail, and none is left running
    runs = runs[runs["outcome"] == "finished"]
    cells = sorted(zip(runs["variant"], runs["seed"], strict=True))
    assert cells == [(name, seed) for name in VARIANTS for seed in (0, 1)], output
    for run_id in runs["run_id"]:
        assert set(map(tuple, count_points(server.uri, run_id).values())) == {tuple(range(1, EPOCHS + 1))}
    assert len(set(runs["weights_sha256"])) == 4
    mine = runs[(runs["variant"] == "conv2_3x3_reg") & (runs["seed"] == 1)]
    folder = tmp_path_factory.mktemp("undisturbed")
    assert list(mine["weights_sha256"]) == [train_undisturbed(folder, "conv2_3x3_reg", "1")]
