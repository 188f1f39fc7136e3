"""Sweeps of real processes: two at once, and one whose training is killed as Linux does without memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_sweep import read_cells
from tests.conftest import Start, write_study

pytestmark = pytest.mark.slow
PAIR = ["conv2_3x3", "conv2_3x3_reg"]


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    return str(write_study(tmp_path / "tiny.toml", PAIR, epochs=2, batch_size=300))


@pytest.fixture
def uri(project: Path) -> str:
    return f"sqlite:///{project / 'mlflow.db'}"


def test_two_sweeps_at_once_train_no_cell_twice(start: Start, uri: str, tiny: str) -> None:
    command = ("python", "-m", "pipeline", "sweep", tiny, "--workers=1")
    first, second = start(*command), start(*command)
    outputs = [process.communicate(timeout=500)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    runs = read_cells(uri)
    assert sorted(runs["variant"]) == PAIR, outputs
    assert set(runs["outcome"]) == {"finished"}


def test_a_training_that_is_killed_without_memory_is_told_so_and_resumed(start: Start, uri: str, tiny: str) -> None:
    command = ("python", "-m", "pipeline", "sweep", tiny, "--workers=2", "--attempts=1")
    process = start(*command, FAULT="checkpoint-safe:1:kill")
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 1, output
    assert "died of SIGKILL (out of memory?); start the sweep again to continue it" in " ".join(output.split())
    killed = read_cells(uri)
    assert set(killed["outcome"]) == {"running"}, output
    assert not killed["alive"].any()
    again = start(*command)
    output, _ = again.communicate(timeout=500)
    assert again.returncode == 0, output
    runs = read_cells(uri)
    assert set(runs["outcome"]) == {"finished"}
    assert sorted(runs["run_id"]) == sorted(killed["run_id"])  # resumed, not trained again
