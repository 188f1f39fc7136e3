"""Pictures as people take them: a small part of what `python -m benchmarks --only pictures` measures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.rendering import KINDS, render_kind, render_two
from pipeline.serving.image import read_digit
from tests.conftest import slow
from tests.serving.pictures import load_test_digits, load_test_labels

LABELS = load_test_labels(100)
PLACES = [int(np.flatnonzero(digit == LABELS)[0]) for digit in range(10)]
DIGITS = load_test_digits(100)[PLACES]
"""One of each class."""


def to_grey(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, np.float32) / np.float32(255)


def match(seen: np.ndarray) -> int:
    """Which of the ten originals a 28x28 picture resembles most, by correlation, strokes a little apart allowed."""
    first, *originals = (gaussian_filter(each.astype(float), 1.5).ravel() for each in (seen, *DIGITS))
    return int(np.argmax([np.corrcoef(first, original)[0, 1] for original in originals]))


@pytest.mark.parametrize("step", [10, *slow(5)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_digit_is_found_in_every_kind_of_picture(kind: str, step: int) -> None:
    digits = range(KINDS.index(kind) % step, 10, step)  # each digit in some kind
    found = []
    for digit in digits:
        reading = read_digit(to_grey(render_kind(kind, DIGITS[digit], np.random.default_rng(digit))))
        assert reading.others == 0, digit
        found.append(match(reading.digit))
    assert found == list(digits)


@pytest.mark.parametrize("cut", [False, True])
def test_a_second_digit_is_never_passed_over(cut: bool) -> None:
    for digit in range(10):
        pair = (DIGITS[digit], DIGITS[(digit + 3) % 10])
        assert read_digit(to_grey(render_two(pair, np.random.default_rng(digit), cut))).others > 0, digit
