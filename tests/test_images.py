"""What images of a data set can be, and what a run says of them."""

from __future__ import annotations

import json

import pytest

from pipeline.images import CLASSES, DIGITS, MNIST, NAMES, SHAPE, Images, restore_images

COLOUR = Images(height=32, width=48, channels=3, classes=("cat", "dog", "käfer"))


def test_what_a_run_says_of_its_images_is_read_back() -> None:
    assert COLOUR.describe() == {SHAPE: "32x48x3", CLASSES: 3, NAMES: ["cat", "dog", "käfer"]}
    assert restore_images(json.loads(json.dumps(COLOUR.describe()))) == COLOUR
    params = {name: str(value) for name, value in COLOUR.describe().items() if name != NAMES}
    assert restore_images(params) == Images(height=32, width=48, channels=3, classes=("0", "1", "2"))


def test_a_run_of_an_earlier_version_had_mnists_form() -> None:
    assert restore_images({}) == restore_images({SHAPE: None}) == restore_images({SHAPE: ""}) == MNIST
    assert (MNIST.shape, MNIST.raw_shape, MNIST.size, MNIST.classes) == ((28, 28, 1), (28, 28), "28x28", DIGITS)


@pytest.mark.parametrize(
    "facts",
    [
        {SHAPE: "28x28"},
        {SHAPE: "28x28x1"},
        {SHAPE: "28x28x2", CLASSES: "10"},
        {SHAPE: "7x28x1", CLASSES: "10"},
        {SHAPE: "28x257x1", CLASSES: "10"},
        {SHAPE: "2²x28x1", CLASSES: "10"},
        {SHAPE: "28x28x1", CLASSES: "1"},
        {SHAPE: "28x28x1", CLASSES: "1001"},
        {SHAPE: "28x28x1", CLASSES: "9" * 5000},
        {SHAPE: "28x28x1", CLASSES: "-1"},
        {SHAPE: "28x28x1", CLASSES: 2, NAMES: ["a"]},
        {SHAPE: "28x28x1", CLASSES: 2, NAMES: ["a", "\x1b[2J"]},
        {SHAPE: "28x28x1", CLASSES: 2, NAMES: ["a", 7]},
        {SHAPE: "28x28x1", CLASSES: 2, NAMES: ["a", "b" * 61]},
        {SHAPE: "28x28x1", CLASSES: 2, NAMES: ["a", " "]},
    ],
)
def test_what_cannot_be_is_refused(facts: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"it does not say the shape|have other names than"):
        restore_images(facts)
