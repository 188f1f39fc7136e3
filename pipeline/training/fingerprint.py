"""What a training is, as declared facts, and one hash over them: the identity of a cell, a run and a checkpoint.

Declared, and not a hash of source text, which would change with a docstring or the version of Python. What the code
does stands in TRAINING_VERSION; a test of golden weights goes red where the bits change and the number does not.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import fields
from importlib import metadata
from typing import Any

from pipeline.study.settings import Settings
from pipeline.study.variants import DROPOUT_RATE, L2_STRENGTH, LEARNING_RATE, Variant
from pipeline.training.randomness import hash_streams

TRAINING_VERSION = 1
"""Raised by hand whenever the training changes its bits on purpose; every finished cell is then to be trained again."""

PACKAGES = ("tensorflow", "keras")
ROW = ("name", "kernel", "features", "head", "conv_padding", "pool_padding", "regularised")
SETTINGS = ("epochs", "batch_size", "seed", "subset", "normalization", "threads", "precision", "jit")
LABELS = ("depth_called", "twin", "published", "note", "data")
"""Fields that shape no weight; the data count by their content."""


def identify_training(variant: Variant, settings: Settings, data_sha256: str) -> dict[str, str]:
    """Everything that decides the weights' bits besides the processor's type, as text by name.

    Of TensorFlow and Keras that is the version up to the minor number, of numpy what its random streams draw. A field
    that a later version adds to a row or to the settings counts only where it differs from its default, so that it
    does not make another training of those before it.
    """
    facts = {
        **_pick(variant, ROW),
        **_pick(settings, SETTINGS),
        "data sha256": data_sha256,
        "dropout": DROPOUT_RATE,
        "l2": L2_STRENGTH,
        "learning rate": LEARNING_RATE,
        "training version": TRAINING_VERSION,
        "random streams": hash_streams()[:16],
        **_read_versions(),
    }
    return {name: str(value) for name, value in facts.items()}


def fingerprint_training(variant: Variant, settings: Settings, data_sha256: str) -> str:
    """sha256 (hex) over identify_training."""
    facts = identify_training(variant, settings, data_sha256)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _pick(row: Any, always: Collection[str]) -> dict[str, Any]:
    """The fields of a dataclass that are named, and those that are neither labels nor at their default."""
    defaults = {field.name: field.default for field in fields(row) if field.name not in LABELS}
    values = {name: getattr(row, name) for name in defaults}
    return {name: value for name, value in values.items() if name in always or value != defaults[name]}


@functools.cache
def _read_versions() -> Mapping[str, str]:
    """Major and minor version of the packages that compute; a patch that changes bits turns the golden weights red."""
    return {name: ".".join(metadata.version(name).split(".")[:2]) for name in PACKAGES}
