from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest

from pipeline.errors import ExperimentError
from pipeline.study.experiment import Experiment
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.sweep.cells import plan_cells
from pipeline.sweep.estimate import count_cores, count_work, estimate_cells, order_cells, take_within
from tests.conftest import ROOT
from tests.sweep.test_cells import NO_RUNS

STUDY = Experiment(
    name="study", variants=("conv2_3x3", "conv7_5x5"), seeds=(0, 1), settings=Settings(epochs=10, subset=600)
)
CELLS = plan_cells(STUDY, "a", NO_RUNS)


REST = 31.0  # seconds beside the epochs


def seen(
    seconds: float,
    host: str = socket.gethostname(),
    outcome: str = "finished",
    subset: int = 600,
    train_images: float = float("nan"),
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "variant": ["conv2_3x3"],
            "subset": [subset],
            "train_images": [train_images],
            "outcome": [outcome],
            "host": [host],
            "final/epoch_seconds": [seconds],
            "epochs": [4],
            "seconds": [4 * seconds + REST],
        }
    )


def test_work_counts_multiply_adds_forwards_and_backwards() -> None:
    forward = 26 * 26 * 32 * 9 * 1 + 11 * 11 * 64 * 9 * 32 + 1600 * 128 + 128 * 64 + 64 * 10
    assert count_work(find_variant("conv2_3x3"), 100) == 3 * forward * 100


def test_an_estimate_scales_with_work_and_leaves_out_what_is_done() -> None:
    estimate = estimate_cells(CELLS[:1], seen(2.0))
    assert estimate.middle == pytest.approx(10 * 2.0 + REST)
    ratio = count_work(find_variant("conv7_5x5"), 1) / count_work(find_variant("conv2_3x3"), 1)
    both = estimate_cells(CELLS[:2], seen(2.0))
    assert both.middle == pytest.approx(20.0 * (1 + ratio) + 2 * REST)
    stopped = estimate_cells([replace(CELLS[0], state="stopped", last_epoch=7)], seen(2.0))
    assert stopped.middle == pytest.approx(3 * 2.0 + REST)


def test_a_small_data_set_is_no_small_part_of_mnist() -> None:
    small = replace(STUDY, settings=replace(STUDY.settings, subset=0))
    cells = plan_cells(small, "a", NO_RUNS, train_images=600)
    assert estimate_cells(cells[:1], seen(2.0)).middle == pytest.approx(10 * 2.0 + REST)
    whole = plan_cells(small, "a", NO_RUNS)[:1]
    assert estimate_cells(whole, seen(2.0, subset=0, train_images=6000)).middle == pytest.approx(10 * 2.0 * 10 + REST)
    assert estimate_cells(whole, seen(2.0, subset=0, train_images=5999)) is None, "mostly overhead"
    earlier = estimate_cells(plan_cells(small, "a", NO_RUNS)[:1], seen(2.0, subset=0))
    assert earlier.middle == pytest.approx(10 * 2.0 + REST)


def test_where_nothing_is_left_no_time_is() -> None:
    assert estimate_cells([], seen(2.0)).middle == 0
    assert take_within([], seen(2.0), 60) == []


def test_other_machines_and_unfinished_runs_tell_nothing() -> None:
    assert estimate_cells(CELLS, seen(2.0, host="there")) is None
    assert estimate_cells(CELLS, seen(2.0, outcome="killed")) is None


def test_no_more_cores_are_counted_than_this_process_may_use() -> None:
    command = [sys.executable, "-c", "from pipeline.sweep.estimate import count_cores; print(count_cores())"]
    limited = subprocess.run(["taskset", "-c", "0", *command], capture_output=True, check=True, cwd=ROOT)
    assert int(limited.stdout) == 1
    assert count_cores() >= 1


def test_the_longest_cell_of_each_seed_starts_first() -> None:
    assert [cell.name for cell in order_cells(CELLS)] == [
        *("conv7_5x5-s0", "conv2_3x3-s0"),
        *("conv7_5x5-s1", "conv2_3x3-s1"),
    ]


def test_a_budget_takes_the_first_cells_that_fit() -> None:
    whole = estimate_cells(CELLS, seen(2.0))
    assert take_within(CELLS, seen(2.0), whole.high) == CELLS
    assert take_within(CELLS, seen(2.0), whole.high - 1) == CELLS[:3]
    assert take_within(CELLS, seen(2.0), 1.0) == []
    with pytest.raises(ExperimentError, match="a budget needs a training like these that has finished on this machine"):
        take_within(CELLS, seen(2.0, host="elsewhere"), 1.0)
