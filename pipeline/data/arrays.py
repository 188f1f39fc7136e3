"""One right reading of the arrays that people have: uint8 images (N, 28, 28) and labels (N,) from their many shapes.

Whatever is done to an array is said in a note; where there is no one right reading, the error says what to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from pipeline.errors import DataError

Array = npt.NDArray[Any]
SIDE, CLASSES = 28, 10
BYTES_A_PIXEL = 9  # the byte itself, a float32 copy, and TensorFlow's
HELD_OUT = 7  # one of so many images is held out where a set has no test part, as MNIST's 10,000 of 70,000
PARTS = ("x_train", "y_train", "x_test", "y_test")
WORDS = {
    "train": {"train", "training"},
    "test": {"test", "testing", "t10k"},
    "x": {"x", "images", "image", "imgs", "pixels", "data"},
    "y": {"y", "labels", "label", "targets", "target", "classes"},
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a file or a folder holds: raw arrays by part (PARTS, or "x" and "y" without a test part), and notes."""

    arrays: Mapping[str, Array]
    notes: tuple[str, ...] = field(default=())


def name_part(name: str) -> str:
    """The part that a file's or an array's name means, such as x_train; empty for none."""
    words = set(re.findall(r"t10k|[a-z]+", name.lower()))
    found = {part for part, known in WORDS.items() if words & known}
    kinds = sorted(found & {"x", "y"})
    if found >= {"train", "test"} or not kinds:
        return ""
    if len(kinds) == 2:  # as in train_data_labels
        kinds = ["y"]
    when = next((part for part in ("train", "test") if part in found), "")
    return f"{kinds[0]}_{when}" if when else kinds[0]


def settle(found: Found) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The four arrays as uint8, and notes on what was done to them; raises DataError without the path."""
    arrays, notes = dict(found.arrays), list(found.notes)
    for name, array in arrays.items():
        if name.startswith("x"):
            arrays[name] = _settle_images(name, array, notes)
    for name, array in arrays.items():
        if name.startswith("y"):
            arrays[name] = _settle_labels(name, array, len(arrays[name.replace("y", "x")]), notes)
    if "x" in arrays or "x_test" not in arrays:
        arrays = _hold_out(arrays, notes)
    for images, labels in (PARTS[:2], PARTS[2:]):
        if len(arrays[images]) != len(arrays[labels]):
            raise DataError(
                f"{images} holds {len(arrays[images]):,} images and {labels} {len(arrays[labels]):,} labels; "
                "give as many labels as images"
            )
    return {name: arrays[name] for name in PARTS}, tuple(notes)


def check_memory(name: str, shape: tuple[int, ...], itemsize: int) -> None:
    """Raise DataError where an array of this shape does not fit into memory for a training."""
    size = int(np.prod([int(length) for length in shape], dtype=object)) if shape else 1
    needed, there = size * max(itemsize, BYTES_A_PIXEL), psutil.virtual_memory().available
    if needed > there:
        raise DataError(
            f"{name} has shape {shape}, which takes {needed / 2**30:,.1f} GiB to train on, and this machine has "
            f"{there / 2**30:,.1f} GiB free; give fewer images"
        )


def _settle_images(name: str, images: Array, notes: list[str]) -> Array:
    """uint8 (N, 28, 28)."""
    shape = images.shape
    if images.ndim == 4 and 1 in (shape[1], shape[3]):
        images = images.squeeze(1 if shape[1] == 1 else 3)
    elif images.ndim == 2 and shape[1] == SIDE * SIDE:
        images = images.reshape(-1, SIDE, SIDE)
    if images.shape != shape:
        notes.append(f"{name}: {shape} read as {images.shape}")
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        colour = "; make it grey first: images.mean(axis=-1)" if images.ndim == 4 and shape[3] in (3, 4) else ""
        raise DataError(f"{name} has shape {shape}, not (N, 28, 28){colour}; scale the images to 28x28, grey")
    if not len(images):
        raise DataError(f"{name} is empty; give images")
    return _settle_values(name, images, notes)


def _settle_values(name: str, images: Array, notes: list[str]) -> Array:
    """The same images as uint8."""
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in "buif":
        raise DataError(f"{name} holds {images.dtype}; give pixels as numbers: images.astype('uint8')")
    low, high = images.min(), images.max()
    if not np.isfinite(low) or not np.isfinite(high) or low < 0 or high > 255:
        raise DataError(
            f"{name} has values from {low:g} to {high:g}; bring them to 0 to 255: "
            "((images - images.min()) / (images.max() - images.min()) * 255).round().astype('uint8')"
        )
    if images.dtype == bool or (images.dtype.kind == "f" and high <= 1):
        notes.append(f"{name}: {images.dtype} from 0 to 1 read as (images * 255).round()")
        return np.rint(images.astype(np.float32) * 255).astype(np.uint8)
    if images.dtype.kind == "f" and (images != np.rint(images)).any():
        raise DataError(f"{name} has values from {low:g} to {high:g} that are not whole; round or rescale them")
    if high <= 1:
        raise DataError(f"{name} holds 0 and 1 as {images.dtype}; give (images * 255).astype('uint8')")
    notes.append(f"{name}: {images.dtype} from {low:g} to {high:g} read as uint8")
    return images.astype(np.uint8)


def _settle_labels(name: str, labels: Array, number: int, notes: list[str]) -> Array:
    """uint8 (N,), 0 to 9."""
    shape = labels.shape
    if labels.dtype.kind not in "buif":
        raise DataError(f"{name} holds {labels.dtype}; number the classes: np.unique(labels, return_inverse=True)[1]")
    if labels.ndim == 2 and shape[1] == 1:
        labels = labels[:, 0]
        notes.append(f"{name}: {shape} read as labels.squeeze()")
    elif labels.ndim == 2 and shape[0] == number and _is_one_hot(labels):
        labels = labels.argmax(axis=1)
        notes.append(f"{name}: one-hot {shape} read as labels.argmax(1)")
    if labels.ndim != 1:
        raise DataError(f"{name} has shape {shape}, not (N,); give one class a picture: labels.argmax(1) if one-hot")
    if not len(labels):
        raise DataError(f"{name} is empty; give labels")
    if (labels != np.rint(labels)).any():
        raise DataError(f"{name} holds {labels.dtype} that are not whole; give classes 0 to 9")
    if not 0 <= labels.min() <= labels.max() < CLASSES:
        least = f"; subtract {labels.min():g}" if labels.min() > 0 and labels.max() - labels.min() < CLASSES else ""
        raise DataError(f"{name} has labels from {labels.min():g} to {labels.max():g}, outside 0..9{least}")
    return labels.astype(np.uint8, copy=False)


def _is_one_hot(labels: Array) -> bool:
    """Whether each row has one 1 and else 0."""
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())


def _hold_out(arrays: Mapping[str, Array], notes: list[str]) -> dict[str, Array]:
    """A set without a test part: a seventh of it becomes one, by seed 0."""
    images, labels = (arrays.get(f"{part}_train", arrays.get(part)) for part in "xy")
    if images is None or labels is None:
        raise DataError(f"it holds {', '.join(arrays)}; images and labels are needed")
    if len(images) != len(labels):
        raise DataError(f"it holds {len(images):,} images and {len(labels):,} labels; give as many of each")
    order = np.random.default_rng(0).permutation(len(labels))
    test, train = np.sort(order[: len(order) // HELD_OUT]), np.sort(order[len(order) // HELD_OUT :])
    notes.append(f"no labelled test part: {len(test):,} of {len(order):,} images held out by seed 0")
    return {"x_train": images[train], "y_train": labels[train], "x_test": images[test], "y_test": labels[test]}
