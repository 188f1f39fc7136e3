"""Ctrl-C, SIGTERM and a terminal that closes: how far it came, the command that continues, and no run left open."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.conftest import SUBSET, clear_environment, write_study
from tests.rig.terminal import CTRL_C, Terminal

TRAIN = ("train", "--epochs=500", "--subset=600", f"--data={SUBSET}")
NOISE = re.compile("Traceback|WARNING|distributed|still alive")


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Start a command in a terminal; it is killed if the test leaves it."""
    environment = clear_environment(MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'mlflow.db'}")
    opened: list[Terminal] = []

    def start(*words: str) -> Terminal:
        opened.append(Terminal(tmp_path, words, environment))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.kill()


def read_ends(folder: Path) -> set[tuple[str, str]]:
    """(status, outcome) of the runs of a store, of all experiments."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return {(run.info.status, run.data.tags.get("outcome", "")) for run in client.search_runs(ids)}


@pytest.mark.slow
def test_a_training_says_after_which_epoch_it_stopped_and_what_continues_it(
    tmp_path: Path, open_terminal: Callable[..., Terminal]
) -> None:
    terminal = open_terminal(*TRAIN)
    terminal.read_until("epoch +2/500  train")
    terminal.type(CTRL_C)
    assert terminal.finish() == 130
    said = re.fullmatch(
        r"Stopped after epoch (\d+) of 500\. Continue: python -m pipeline (train --resume \w{32})", terminal.lines[-1]
    )
    assert said, terminal.lines
    assert read_ends(tmp_path) == {("KILLED", "killed")}
    terminal = open_terminal(*said[2].split())
    terminal.read_until(f"continues after epoch {said[1]} of 500")
    terminal.type(CTRL_C)
    assert terminal.finish() == 130
    assert terminal.lines[-1].startswith("Stopped after epoch "), terminal.lines
    assert read_ends(tmp_path) == {("KILLED", "killed")}


@pytest.mark.slow
def test_a_training_that_is_stopped_before_an_epoch_says_so(
    tmp_path: Path, open_terminal: Callable[..., Terminal]
) -> None:
    terminal = open_terminal(*TRAIN)
    terminal.read_until(r"run \w{32}")
    terminal.type(CTRL_C)
    assert terminal.finish() == 130
    assert terminal.lines[-1].removeprefix("^C") == (
        "Stopped before the first epoch was finished; nothing to resume. Start the same command again."
    )
    assert read_ends(tmp_path) == {("KILLED", "killed")}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ctrl-c", "at once", "SIGTERM", "group", "hang up"])
def test_a_sweep_that_is_stopped_says_how_far_it_came(
    tmp_path: Path, open_terminal: Callable[..., Terminal], way: str
) -> None:
    write_study(tmp_path / "tiny study.toml", seeds=range(3), epochs=500)
    workers = "1" if way == "ctrl-c" else "2"
    terminal = open_terminal("sweep", "--workers", workers, "tiny study.toml")
    terminal.read_until("3 cells" if way == "at once" else r"epoch \d+/500")
    codes = {"SIGTERM": 143, "group": 143, "hang up": 129}
    if way == "hang up":
        terminal.hang_up()
    elif way == "SIGTERM":
        os.kill(terminal.process.pid, signal.SIGTERM)
    elif way == "group":
        os.killpg(terminal.process.pid, signal.SIGTERM)
    else:
        terminal.type(CTRL_C)
    assert terminal.finish(120) == codes.get(way, 130), terminal.lines[-5:]
    assert not NOISE.search(terminal.output)
    if way != "hang up":
        assert way == "at once" or "stopping ..." in terminal.output  # it takes seconds until the workers have ended
        assert [line.removeprefix("^C") for line in terminal.lines[-2:]] == [
            "Stopped. 0 of 3 cells are finished.",
            f"Continue: python -m pipeline sweep 'tiny study.toml' --workers {workers}",
        ]
    assert read_ends(tmp_path) <= {("KILLED", "killed")}
