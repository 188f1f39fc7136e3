"""The settings of one training: everything besides the variant that can change its result."""

from __future__ import annotations

from dataclasses import dataclass

NORMALIZATIONS = ("l2", "scale")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
JITS = ("off", "on")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The study's protocol where nothing else is said.

    `subset` is a number of training images, 0 for all; `normalization` one of NORMALIZATIONS; `data` is "auto" or a
    path; `threads` work within one operation; `precision`, one of PRECISIONS, is that of the layers' products, while
    variables and loss are float32; `jit`, one of JITS, says whether XLA compiles the training step.
    """

    epochs: int = 25
    batch_size: int = 128
    seed: int = 0
    subset: int = 0
    normalization: str = "l2"
    data: str = "auto"
    threads: int = 2
    precision: str = "float32"
    jit: str = "off"


LATER = {"precision": Settings.precision, "jit": Settings.jit}
"""Settings that runs and plans of earlier versions know nothing of, with what those have."""


def describe_arithmetic(precision: str, jit: str) -> str:
    """How a network is computed, as `float32` or `mixed_float16, compiled by XLA`."""
    return f"{precision}, compiled by XLA" if jit == "on" else precision
