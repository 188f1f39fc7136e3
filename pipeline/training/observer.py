"""What may be told about a training while it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Kernels = dict[str, npt.NDArray[np.float32]]
"""The flattened kernel of each conv and dense layer by its name, in network order."""


class Epoch(NamedTuple):
    """A finished epoch: its metrics by their full names, and when it ended, in milliseconds since 1970 (UTC)."""

    metrics: dict[str, float]
    ended: int


class Observer:
    """Hears nothing of what it is told; override what you need."""

    def begin_training(self, summary: str, runtime: Mapping[str, object]) -> None:
        """The network, summarised as text, is about to see its first batch; `runtime` says how it is computed."""

    def resume_training(self, epochs: Sequence[Epoch], refused: Sequence[str]) -> None:
        """The training goes on after these epochs; `refused` says why newer checkpoints could not be used."""

    def end_batch(self, epoch: int, batch: int, batches: int) -> None:
        """Batch `batch` of `batches` (from 1) of this epoch is done."""

    def end_epoch(self, epoch: int, metrics: dict[str, float], ended: int) -> None:
        """An epoch (from 1) is done and evaluated, and its checkpoint safe; the rest as in Epoch."""

    def show_kernels(self, epoch: int, kernels: Kernels) -> None:
        """The kernels at one of a few epochs, 0 for the untrained network."""
