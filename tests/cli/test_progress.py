"""What a training shows while it goes on: one bar over all epochs, with the time left of the whole training."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from pipeline.cli import progress
from pipeline.cli.progress import CellLines, EpochLines
from pipeline.study.metrics import BY_EPOCH
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.sweep.cells import Cell
from pipeline.sweep.paces import Pace
from pipeline.workflows.train import TRAINING


class Clock:
    """A clock that tests set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


def test_the_time_left_is_within_a_quarter_after_the_first_epoch(clock: Clock) -> None:
    pace = Pace()
    pace.start_epoch()
    assert pace.estimate_left(0.01, 9) is None
    clock.now = 50.0  # half of the batches of 100 s; the evaluation takes 20 s more
    assert pace.estimate_left(0.5, 9) == pytest.approx(10 * 120 - 50, rel=0.25)
    clock.now = 120.0
    pace.end_epoch()
    clock.now = 170.0
    assert pace.estimate_left(0.5, 8) == pytest.approx(9 * 120 - 50)
    clock.now = 500.0  # an epoch that takes far longer never gives less than nothing
    assert pace.estimate_left(0.9, 0) == 0.0


def test_before_the_first_batches_earlier_runs_tell_the_time_left(clock: Clock) -> None:
    pace = Pace()
    assert pace.estimate_left(0.0, 9) is None
    pace.expected = 60.0
    clock.now = 10.0
    assert pace.estimate_left(0.01, 9) == 60 * 10 - 10
    assert pace.estimate_left(0.5, 9) != 60 * 10 - 10, "batches that were seen count more"


def make_cell(seed: int, **more: str | int) -> Cell:
    settings = Settings(epochs=10, subset=600, seed=seed)
    return Cell(variant=find_variant("conv2_3x3"), settings=settings, fingerprint=str(seed), **more)


def test_what_an_earlier_sweep_has_trained_of_a_cell_is_no_work_of_this_one(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "Lines", lambda: Console(file=io.StringIO(), force_terminal=True))
    cells = [make_cell(0, state="stopped", last_epoch=8), make_cell(1)]
    lines = CellLines(SimpleNamespace(store=None), cells, [], expected=600.0)
    clock.now = 100.0
    assert lines.estimate_left() == 500.0, "nothing has been done yet"
    lines._show({"conv2_3x3-s0": (9, 0.5), "conv2_3x3-s1": (1, 0.5)})
    assert lines.estimate_left() == pytest.approx(100.0 / 2 * 10)  # 2 epochs in 100 s, 1 and 9 left


def test_one_bar_counts_epochs_and_names_the_evaluation(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    terminal = progress.Lines(file=output, force_terminal=True, width=100)
    monkeypatch.setattr(progress, "Lines", lambda: terminal)
    monkeypatch.setattr(progress, "expect_epoch", lambda *_: None)
    lines = EpochLines()
    lines.begin_run("7" * 32, find_variant("conv2_3x3"), Settings(epochs=4), resumes=False)
    with lines.during(TRAINING):
        for epoch in (1, 2):
            for batch in (1, 2):
                clock.now += 30.0
                lines.end_batch(epoch, batch, 2)
            lines.bar.refresh()
            if epoch == 1:
                lines.end_epoch(1, dict.fromkeys(map(str, BY_EPOCH), 0.5), 0)
        task = lines.bar.tasks[0]
        assert (task.completed, task.total) == (2, 4)
        assert task.description == "epoch 2/4, evaluating"
        assert task.fields["left"] == "about 2 min left"
    assert "epoch 1/4  train loss 0.5000" in output.getvalue()
