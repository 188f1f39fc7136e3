from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pipeline.data.datasets import load_data
from pipeline.errors import RunKilled
from pipeline.study.settings import Settings
from pipeline.training.checkpoint import find_checkpoints, hold_checkpoints, read_checkpoint
from pipeline.training.fingerprint import identify_training
from pipeline.training.observer import Epoch, Observer
from pipeline.training.run import Result, train_run
from tests.conftest import SUBSET
from tests.training.test_checkpoint import REG, assert_same


class Interrupt(Observer):
    """Interrupts a training in the middle of an epoch, and notes what it hears."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.heard: list[object] = []

    def begin_training(self, summary: str, runtime: Mapping[str, object]) -> None:
        self.heard.append("new")

    def resume_training(self, epochs: Sequence[Epoch], refused: Sequence[str]) -> None:
        self.heard.append((len(epochs), *refused))

    def end_batch(self, epoch: int, batch: int, batches: int) -> None:
        if (epoch, batch) == (self.epoch, 2):
            raise RunKilled(15)

    def end_epoch(self, epoch: int, metrics: dict[str, float], ended: int) -> None:
        self.heard.append(epoch)

    def show_kernels(self, epoch: int, kernels: object) -> None:
        self.heard.append(f"kernels {epoch}")


@pytest.mark.slow
def test_a_resumed_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    settings = Settings(epochs=3, subset=300, data=str(SUBSET))
    dataset = load_data(settings.data, subset=settings.subset)
    config = identify_training(REG, settings, dataset.sha256)

    def train(folder: Path, interrupt: int = 0) -> list[object]:
        observer = Interrupt(interrupt)
        with hold_checkpoints(folder, config) as checkpoints:
            if interrupt:
                with pytest.raises(RunKilled):
                    train_run(REG, settings, dataset, [observer], checkpoints)
            else:
                results.append(train_run(REG, settings, dataset, [observer], checkpoints))
        return observer.heard

    results: list[Result] = []
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert train(whole) == ["new", "kernels 0", 1, "kernels 1", 2, "kernels 2", 3, "kernels 3"]
    assert train(resumed, interrupt=3) == ["new", "kernels 0", 1, "kernels 1", 2, "kernels 2"]
    first = read_checkpoint(resumed / "epoch-00002.checkpoint", config)
    damaged = find_checkpoints(resumed)[0]
    damaged.write_bytes(damaged.read_bytes()[:-5])
    reason = "epoch-00002.checkpoint is damaged: its sha256 is not that of its content"
    assert train(resumed) == [(1, reason), "kernels 1", 2, "kernels 2", 3, "kernels 3"]
    assert train(resumed) == [(3,), "kernels 3"]  # nothing left to train

    ends = [read_checkpoint(folder / "epoch-00003.checkpoint", config) for folder in (whole, resumed)]
    assert_same(*ends, seconds=False)
    assert any(name.startswith("optimiser") for name in ends[0].arrays)
    assert ends[1].epochs[0] == first.epochs[0]  # time measured and moment stay as they were
    one, *others = ((result.weights_sha256, drop_seconds(result.finals)) for result in results)
    assert all(one == other for other in others)
    recent = [[tuple(map(bytes, each)) for each in result.recent] for result in results]
    assert len(recent[0]) == 3
    assert recent[0] == recent[1] == recent[2]  # also of epochs that an earlier process trained


def drop_seconds(finals: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in finals.items() if name != "final/epoch_seconds"}
