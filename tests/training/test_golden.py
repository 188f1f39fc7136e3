from __future__ import annotations

import json

import pytest

from pipeline.training.fingerprint import TRAINING_VERSION
from tests.training.golden import FILE, name_processor, train_golden

CHANGED = (
    "the training changed its bits: if on purpose, raise TRAINING_VERSION in pipeline/training/fingerprint.py and run "
    "`python -m tests.training.golden`"
)


def test_the_training_keeps_its_bits() -> None:
    golden, trained = json.loads(FILE.read_text()), train_golden()
    assert golden["training version"] == TRAINING_VERSION, "run `python -m tests.training.golden`"
    for name, each in trained.items():
        assert each["values"] == pytest.approx(golden["values"][name], rel=1e-3), CHANGED
    if name_processor() in golden["sha256"]:
        hashes = {name: each["sha256"] for name, each in trained.items()}
        assert hashes == golden["sha256"][name_processor()], CHANGED
