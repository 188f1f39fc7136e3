"""Real digits drawn into picture files, as people hand them in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.conftest import SUBSET

Digits = npt.NDArray[np.uint8]


def load_test_digits(number: int) -> Digits:
    """The first test images of the subset, uint8 (number, 28, 28)."""
    with np.load(SUBSET) as subset:
        return np.asarray(subset["x_test"][:number])


def load_test_labels(number: int) -> Digits:
    """What the first test images of the subset show, uint8 (number,)."""
    with np.load(SUBSET) as subset:
        return np.asarray(subset["y_test"][:number])


def draw(digit: Digits, size: int = 28, margin: int = 0, dark_on_light: bool = False) -> Image.Image:
    """The digit enlarged to `size`, off-centre in `margin` more pixels, in grey."""
    image = Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC)
    field = np.zeros((size + margin, size + 2 * margin), np.uint8)
    field[margin:, :size] = np.asarray(image)
    return Image.fromarray(255 - field if dark_on_light else field)


def save(picture: Image.Image, path: Path) -> Path:
    """The picture in a file of the path's kind."""
    picture.save(path)
    return path
