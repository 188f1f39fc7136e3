"""A data set in words: what its images and labels are, and what is odd about them."""

from __future__ import annotations

import numpy as np

from pipeline.data.arrays import Array
from pipeline.data.datasets import Dataset
from pipeline.data.formats import ImageSet


def describe_images(dataset: Dataset) -> list[str]:
    """Lines on the images' size, values and ink, and on how many there are of each class."""
    raw = dataset.raw
    height, width = raw.x_train.shape[1:3]
    low, high = min(raw.x_train.min(), raw.x_test.min()), max(raw.x_train.max(), raw.x_test.max())
    counts = (
        ", ".join(f"{label} {number:,}" for label, number in _count(labels)) for labels in (raw.y_train, raw.y_test)
    )
    return [
        f"images: {height}x{width}, grey, {low} to {high}, ink {dataset.ink}",
        *(f"{part} images by class: {line}" for part, line in zip(("training", "test"), counts, strict=True)),
    ]


def list_warnings(raw: ImageSet) -> list[str]:
    """What makes results on this set doubtful: training images in the test set, one class alone, classes untrained."""
    warnings = []
    seen = {image.tobytes() for image in raw.x_train}
    if both := sum(image.tobytes() in seen for image in raw.x_test):
        warnings.append(f"{both:,} of {len(raw.x_test):,} test images are training images too; test results flatter")
    for part, labels in (("training", raw.y_train), ("test", raw.y_test)):
        if len(np.unique(labels)) == 1:
            warnings.append(f"all {part} labels are {labels[0]}; there is nothing to learn")
    if untrained := sorted(set(raw.y_test.tolist()) - set(raw.y_train.tolist())):
        warnings.append(f"the training set has no image of class {', '.join(map(str, untrained))}")
    if (raw.x_train == raw.x_train[:1]).all():
        warnings.append("all training images are the same")
    return warnings


def _count(labels: Array) -> list[tuple[int, int]]:
    """(class, how many) of each class that is there."""
    values, counts = np.unique(labels, return_counts=True)
    return list(zip(values.tolist(), counts.tolist(), strict=True))
