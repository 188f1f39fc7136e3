"""How long the rest of a training takes."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from pipeline.errors import StoreError
from pipeline.sweep.estimate import EVALUATION_SHARE

if TYPE_CHECKING:
    from pipeline.study.settings import Settings
    from pipeline.study.variants import Variant

LEAST_SHARE = 0.05
"""The share of an epoch or a sweep that must be done before the time left is estimated from it."""


def expect_epoch(variant: Variant, settings: Settings) -> float | None:
    """Seconds for an epoch by the runs that this machine has finished; None without any, or without their store."""
    from pipeline.sweep.estimate import estimate_epoch
    from pipeline.sweep.paces import read_paces
    from pipeline.tracking.store import open_store

    try:
        return estimate_epoch(variant, settings, read_paces(open_store()))
    except StoreError:
        return None


class Pace:
    """How long the rest of a training takes: by the epochs that were seen, before that by the first batches.

    `expected` is what an epoch takes by earlier runs, None where there are none: it counts until there are batches.
    """

    def __init__(self) -> None:
        self.expected: float | None = None
        self.taken: list[float] = []
        self.started = time.monotonic()

    def start_epoch(self) -> None:
        """An epoch begins now."""
        self.started = time.monotonic()

    def end_epoch(self) -> None:
        """An epoch ends now, evaluation included, and the next one begins."""
        self.taken.append(time.monotonic() - self.started)
        self.start_epoch()

    def estimate_left(self, share: float, epochs: int) -> float | None:
        """Seconds left when this `share` of an epoch's batches is done and so many epochs follow; None at the start."""
        passed = time.monotonic() - self.started
        if self.taken or share < LEAST_SHARE:
            whole = statistics.median(self.taken) if self.taken else self.expected
            return None if whole is None else max(whole - passed, 0.0) + whole * epochs
        whole = passed / share * EVALUATION_SHARE
        return whole - passed + whole * epochs
