"""What a training shows while it goes on: one bar over all epochs, with the time left of the whole training."""

from __future__ import annotations

import io

import pytest

from pipeline.cli import progress
from pipeline.cli.progress import EpochLines, Pace
from pipeline.study.metrics import BY_EPOCH
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
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


def test_one_bar_counts_epochs_and_names_the_evaluation(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    terminal = progress.Lines(file=output, force_terminal=True, width=100)
    monkeypatch.setattr(progress, "Lines", lambda: terminal)
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
