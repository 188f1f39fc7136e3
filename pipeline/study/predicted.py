"""What a run said to each test image, as predictions.npz has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True, eq=False)
class Predicted:
    """What a run said to each of N test images: arrays of shape (N,).

    `log_probability` is that of the true class after the last epoch. The last `recent` epochs (0: not recorded) are in
    `recent_wrong`, in how many of them the image was wrong, and in the mean `recent_log_probability`.
    """

    label: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    log_probability: npt.NDArray[np.float32]
    recent: int = 0
    recent_wrong: npt.NDArray[np.uint8] | None = None
    recent_log_probability: npt.NDArray[np.float16] | None = None

    def measure(self, estimand: str, epochs: int) -> npt.NDArray[Any] | None:
        """test_error (0 to 1) or test_loss (nats) of each image over the last `epochs`; None if not recorded."""
        if epochs > 1 and (self.recent != epochs or self.recent_wrong is None or self.recent_log_probability is None):
            return None
        if estimand == "test_error":
            wrong = self.predicted != self.label if epochs == 1 else self.recent_wrong
            return np.asarray(wrong, dtype=float) / epochs
        scores = self.log_probability if epochs == 1 else self.recent_log_probability
        return -np.asarray(scores, dtype=float)
