"""A data set in words: what its images and labels are, and what is odd about them."""

from __future__ import annotations

import numpy as np

from pipeline.data.arrays import Array, ImageSet
from pipeline.data.datasets import Dataset
from pipeline.data.labels import list_some

MOST_COUNTED = 50  # classes that are counted one by one


def describe_images(dataset: Dataset) -> list[str]:
    """Lines on the images' size, values and ink, and on how many there are of each class."""
    raw, images = dataset.raw, dataset.images
    low, high = min(raw.x_train.min(), raw.x_test.min()), max(raw.x_train.max(), raw.x_test.max())
    ground = "" if images.colour else ", no common ground" if dataset.ink == "none" else f", ink {dataset.ink}"
    parts = (("training", raw.y_train), ("test", raw.y_test))
    return [
        f"images: {images.size}, {'colour' if images.colour else 'grey'}, {low} to {high}{ground}",
        f"classes: {len(images.classes):,}",
        *(f"{part} images by class: {_count(labels, images.classes)}" for part, labels in parts),
    ]


def list_warnings(raw: ImageSet) -> list[str]:
    """What makes results on this set doubtful: images that are there twice, labels that say nothing."""
    warnings = []
    seen: dict[bytes, set[int]] = {}
    for image, label in zip(raw.x_train, raw.y_train.tolist(), strict=True):
        seen.setdefault(image.tobytes(), set()).add(label)
    if both := sum(image.tobytes() in seen for image in raw.x_test):
        warnings.append(f"{both:,} of {len(raw.x_test):,} test images are training images too; test results flatter")
    if torn := sum(len(labels) > 1 for labels in seen.values()):
        warnings.append(f"{torn:,} training images are there in more than one class; nobody can tell these apart")
    for part, labels in (("training", raw.y_train), ("test", raw.y_test)):
        if len(np.unique(labels)) == 1:
            warnings.append(f"all {part} labels are {raw.classes[labels[0]]}; there is nothing to learn")
        elif missing := np.flatnonzero(np.bincount(labels, minlength=len(raw.classes)) == 0).tolist():
            names = [raw.classes[each] for each in missing]
            warnings.append(f"the {part} set has no image of class {list_some(names)}")
    if (raw.x_train == raw.x_train[:1]).all():
        warnings.append("all training images are the same")
    if raw.images.colour and not any(np.ptp(every, axis=-1).any() for every in (raw.x_train, raw.x_test)):
        warnings.append("the three channels are the same everywhere; make them grey: images[..., 0]")
    return warnings


def _count(labels: Array, classes: tuple[str, ...]) -> str:
    """How many images each class has that has one, or in short where there are many classes."""
    numbers = np.bincount(labels, minlength=len(classes)).tolist()
    if len(classes) > MOST_COUNTED:
        return f"{min(numbers):,} to {max(numbers):,}"
    return ", ".join(f"{name} {number:,}" for name, number in zip(classes, numbers, strict=True) if number)
