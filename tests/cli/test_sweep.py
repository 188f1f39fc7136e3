from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest
from mlflow.tracking import MlflowClient

from pipeline.data.datasets import load_data
from pipeline.study.experiment import load_experiment
from pipeline.study.facts import describe_settings, describe_variant
from pipeline.study.variants import find_variant
from pipeline.sweep.cells import plan_cells
from pipeline.tracking.runs import read_runs
from pipeline.tracking.store import find_experiment, open_store
from pipeline.tracking.write.recorder import record_run
from tests.cli.test_chaos import tell_kind
from tests.conftest import SUBSET, Start, call, slow, succeed, write_study
from tests.sweep.test_cells import NO_RUNS

PAIR = ("conv2_3x3", "conv2_3x3_reg")


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    return str(write_study(tmp_path / "tiny.toml", PAIR, range(2), epochs=3))


@pytest.mark.parametrize("probed", [False, *slow(True)])
def test_a_plan_runs_nothing(tiny: str, empty: Path, request: pytest.FixtureRequest, probed: bool) -> None:
    if not probed:
        request.getfixturevalue("unprobed")
    result = succeed("plan", tiny, "--workers", "1")
    assert re.fullmatch(
        r"conv2_3x3                 2 to do\n"
        r"conv2_3x3_reg             2 to do\n"
        r"4 cells: 0 finished, 0 running, 0 stopped, 4 to do\n"
        r"time left: about \d+ \w+ (\(\d+ \w+ to \d+ \w+\) )?with 1 worker, "
        r"judging by some seconds of conv2_3x3(_reg)?: no training like these has finished on this machine\n",
        result.output,
    )


def test_a_plan_takes_some_seeds_or_lists_each_cell(tiny: str, empty: Path, unprobed: None) -> None:
    assert call("plan", tiny, "--seeds", "1").output.startswith("conv2_3x3-s1")
    each = call("plan", tiny, "--cells").output.splitlines()
    assert [line.split()[0] for line in each[:4]] == [f"{name}-s{seed}" for seed in (0, 1) for name in PAIR]


def test_runs_of_an_earlier_version_are_named_and_kept_if_asked(
    tiny: str, store_uri: str, unprobed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tiny")
    store, settings = open_store(), load_experiment(tiny).settings
    variant, sha256 = find_variant("conv2_3x3"), load_data(str(SUBSET), subset=600).sha256
    with record_run(store, variant, settings) as recorder:
        recorder.log_params({**describe_settings(settings), **describe_variant(variant), "data-sha256": sha256})
        recorder.log({}, {"fingerprint": "0" * 64})
    try:
        first, *_, counts, _ = call("plan", tiny).output.splitlines()
        assert first == (
            "An earlier version of the training finished 1 of these cells: --keep accepts them, "
            "otherwise their cells are trained again"
        )
        assert counts == "4 cells: 0 finished, 0 running, 0 stopped, 4 to do"
        kept = call("plan", tiny, "--keep").output
        assert kept.startswith("conv2_3x3                 1 finished, 1 to do\n")
        assert call("plan", tiny, "--keep", "--cells").output.startswith(
            f"conv2_3x3-s0              finished  {recorder.run_id}\n"
        )
    finally:
        store.client.delete_run(recorder.run_id)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["cell", "{tiny}", "conv7_3x3", "0"], 'Error: "conv7_3x3" is not a variant; choose one of conv2_3x3, conv2_'),
        (
            ["sweep", "{tiny}", "--budget", "1h"],
            "Error: a budget needs a training like these that has finished on this machine",
        ),
    ],
)
def test_what_cannot_be_swept_is_one_line(tiny: str, empty: Path, arguments: list[str], line: str) -> None:
    result = call(*(argument.replace("{tiny}", tiny) for argument in arguments))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith(line)


def read_cells(uri: str, name: str = "tiny") -> pd.DataFrame:
    """All training runs of an experiment, in whatever state."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        store = open_store()
        return read_runs(store, find_experiment(store, name))


@pytest.mark.slow
def test_a_sweep_whose_driver_and_trainings_are_killed_ends_with_every_cell_once(
    project: Path, start: Start, tiny: str
) -> None:
    uri = f"sqlite:///{project / 'mlflow.db'}"
    driver = start("python", "-m", "pipeline", "sweep", tiny)
    wait_until(lambda: find_trainings(project) and (project / "mlflow.db").exists())
    time.sleep(4)
    wait_until(lambda: kill_training(project))  # its cell is tried again
    time.sleep(4)
    driver.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate(timeout=60)
    wait_until(lambda: not find_trainings(project))
    launched = start("mlflow", "run", ".", "-e", "sweep", "--env-manager", "local", "-P", f"experiment={tiny}")
    output, _ = launched.communicate(timeout=900)
    (run,) = MlflowClient(uri).search_runs(["0"])
    assert (run.info.status, run.data.tags["kind"], run.data.tags["outcome"]) == ("FINISHED", "sweep", "finished"), (
        output
    )
    runs = read_cells(uri)
    finished = runs[runs["outcome"] == "finished"]
    cells = sorted(zip(finished["variant"], finished["seed"], strict=True))
    assert cells == [(name, seed) for name in PAIR for seed in (0, 1)], output
    again, _ = start("python", "-m", "pipeline", "sweep", tiny).communicate(timeout=120)
    assert again == f"tiny: 4 cells, 4 finished\nNext: python -m pipeline compare {tiny}\n"
    assert len(read_cells(uri)) == len(runs)


def find_trainings(project: Path) -> list[psutil.Process]:
    """The processes of this project's copy that train a cell."""
    found = []
    for process in psutil.process_iter(["cwd"]):
        with contextlib.suppress(psutil.NoSuchProcess, AttributeError):  # it or its parent has just ended
            if process.info["cwd"] == str(project) and tell_kind(process) == "training":
                found.append(process)
    return found


def kill_training(project: Path) -> bool:
    """Kill a training, if there is one at this moment."""
    for process in find_trainings(project):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            return True
    return False


def wait_until(condition: Callable[[], object], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_a_plan_of_ten_thousand_cells_is_a_plan(tmp_path: Path) -> None:
    path = write_study(tmp_path / "big.toml", PAIR, range(5000))
    assert len(plan_cells(load_experiment(path), "a", NO_RUNS)) == 10_000
