from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipeline.study.settings import Settings
from pipeline.study.variants import Variant, find_variant
from pipeline.training import fingerprint as room
from pipeline.training.fingerprint import fingerprint_training, identify_training
from tests.conftest import run_python

VARIANT, SETTINGS = find_variant("conv2_3x3"), Settings()
ASK = """
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.training.fingerprint import fingerprint_training
print(fingerprint_training(find_variant("conv2_3x3"), Settings(), "a"))
"""


@pytest.mark.parametrize(
    ("variant", "settings", "data"),
    [
        (find_variant("conv2_5x5"), SETTINGS, "a"),
        (VARIANT, replace(SETTINGS, seed=1), "a"),
        (VARIANT, replace(SETTINGS, epochs=24), "a"),
        (VARIANT, replace(SETTINGS, batch_size=64), "a"),
        (VARIANT, replace(SETTINGS, normalization="scale"), "a"),
        (VARIANT, replace(SETTINGS, subset=600), "a"),
        (VARIANT, replace(SETTINGS, threads=1), "a"),
        (VARIANT, replace(SETTINGS, precision="mixed_bfloat16"), "a"),
        (VARIANT, replace(SETTINGS, precision="mixed_float16"), "a"),
        (VARIANT, replace(SETTINGS, jit="on"), "a"),
        (VARIANT, SETTINGS, "b"),
    ],
)
def test_whatever_can_change_a_result_changes_the_fingerprint(variant: Variant, settings: Settings, data: str) -> None:
    assert fingerprint_training(variant, settings, data) != fingerprint_training(VARIANT, SETTINGS, "a")


def test_what_cannot_change_a_result_does_not() -> None:
    moved = replace(SETTINGS, data="elsewhere.npz")
    renamed = replace(VARIANT, note="another note", twin=None)
    assert fingerprint_training(renamed, moved, "a") == fingerprint_training(VARIANT, SETTINGS, "a")


@pytest.mark.parametrize("changed", ["TRAINING_VERSION", "DROPOUT_RATE", "L2_STRENGTH", "LEARNING_RATE"])
def test_the_version_and_every_constant_of_the_training_are_part_of_it(
    monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    before = fingerprint_training(VARIANT, SETTINGS, "a")
    monkeypatch.setattr(room, changed, 99)
    assert fingerprint_training(VARIANT, SETTINGS, "a") != before


def test_of_the_versions_a_patch_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def identify(version: str) -> dict[str, str]:
        monkeypatch.setattr(room.metadata, "version", lambda name: version)
        room._read_versions.cache_clear()
        return identify_training(VARIANT, SETTINGS, "a")

    assert identify("3.15.1") == identify("3.15.2")
    assert identify("3.15.1") != identify("3.16.0")
    room._read_versions.cache_clear()


def test_a_field_that_comes_later_makes_no_other_training_of_those_before_it() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Later(Settings):
        new: str = "none"

    assert fingerprint_training(VARIANT, Later(), "a") == fingerprint_training(VARIANT, SETTINGS, "a")
    assert fingerprint_training(VARIANT, Later(new="on"), "a") != fingerprint_training(VARIANT, SETTINGS, "a")


def test_finished_cells_stay_finished() -> None:
    """The study's cells have these fingerprints: whoever changes one has every one of them trained again."""
    identity = identify_training(VARIANT, SETTINGS, "5" * 64)
    assert identity == {
        "name": "conv2_3x3",
        "kernel": "3",
        "features": "32 M 64 M",
        "head": "128 64",
        "conv_padding": "valid",
        "pool_padding": "valid",
        "regularised": "False",
        "epochs": "25",
        "batch_size": "128",
        "seed": "0",
        "subset": "0",
        "normalization": "l2",
        "threads": "2",
        "precision": "float32",
        "jit": "off",
        "data sha256": "5" * 64,
        "dropout": "0.5",
        "l2": "1e-05",
        "learning rate": "0.001",
        "training version": "1",
        "random streams": "4ca170e5f568a886",
        "tensorflow": "2.21",
        "keras": "3.15",
    }


def test_a_docstring_in_every_file_that_trains_changes_no_fingerprint(project: Path) -> None:
    for path in (*(project / "pipeline" / "training").glob("*.py"), *(project / "pipeline" / "data").glob("*.py")):
        path.write_text(re.sub(r'^"""', '"""Reworded. ', path.read_text(), count=1))
    done = run_python(project, "-c", ASK, PYTHONPATH=str(project))
    assert done.stdout.strip() == fingerprint_training(VARIANT, SETTINGS, "a"), done.stderr
    assert "Reworded. " in (project / "pipeline" / "training" / "step.py").read_text()
