"""The settings of one training: everything besides the variant that can change its result."""

from __future__ import annotations

from dataclasses import dataclass

NORMALIZATIONS = ("l2", "scale")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The study's protocol where nothing else is said.

    `subset` is a number of training images, 0 for all; `normalization` one of NORMALIZATIONS; `data` is "auto" or a
    path; `threads` work within one operation.
    """

    epochs: int = 25
    batch_size: int = 128
    seed: int = 0
    subset: int = 0
    normalization: str = "l2"
    data: str = "auto"
    threads: int = 2
