"""How much a picture is like the images that a network has learned from: by the nearest one in a sample of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.data.arrays import Array, ImageSet

SAMPLE, FEWEST = 1000, 50
MOST_VALUES = 8_000_000  # of a sample's pixels and channels, as long as it has the fewest images
STRAY = 1.0  # pixels by which strokes may lie beside each other and still be alike
UNUSUAL = 0.02  # of the test images are less like the sample than `usual`


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Some training images, uint8 (N, H, W) or (N, H, W, C), and the likeness that nearly all test images have."""

    images: Array
    usual: float


def draw_sample(images: ImageSet) -> Sample:
    """Up to 1,000 training images, fewer of large ones, evenly spaced, measured with as many test images."""
    number = max(FEWEST, min(SAMPLE, MOST_VALUES // images.x_train[0].size))
    train, test = (every[:: max(1, len(every) // number)][:number] for every in (images.x_train, images.x_test))
    return Sample(images=train, usual=float(np.quantile(measure_likeness(test, train), UNUSUAL)))


def measure_likeness(pictures: Array, images: Array) -> npt.NDArray[np.float64]:
    """The greatest cosine of each picture and one of the images, uint8 of one shape and blurred: 1 for the same."""
    return np.asarray((_point(pictures) @ _point(images).T).max(axis=1), np.float64)


def _point(images: Array) -> npt.NDArray[np.float32]:
    """Each image, blurred, as a vector of length 1; a black one as zeros."""
    blur = (0, STRAY, STRAY, 0)[: images.ndim]
    rows = ndimage.gaussian_filter(images.astype(np.float32), blur).reshape(len(images), -1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths, lengths, 1), np.float32)
