"""What may be told about a training while it goes on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Kernels = dict[str, npt.NDArray[np.float32]]
"""The flattened kernel of each conv and dense layer by its name, in network order."""


class Observer:
    """Hears nothing of what it is told; override what you need."""

    def begin_training(self, summary: str) -> None:
        """The network, summarised as text, is about to see its first batch."""

    def end_batch(self, epoch: int, batch: int, batches: int) -> None:
        """Batch `batch` of `batches` (from 1) of this epoch is done."""

    def end_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """An epoch (from 1) is done and evaluated; `metrics` by their full names."""

    def show_kernels(self, epoch: int, kernels: Kernels) -> None:
        """The kernels at one of a few epochs, 0 for the untrained network."""
