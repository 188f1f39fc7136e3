"""One right reading of the arrays that people have: uint8 images (N, H, W) or (N, H, W, 3), from their many shapes.

Whatever is done to an array is said in a note; where there is no one right reading, the error says what to do.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from pipeline.data.labels import name_classes, settle_labels
from pipeline.errors import DataError
from pipeline.images import DIGITS, LARGEST, SMALLEST, Images

Array = npt.NDArray[Any]
BYTES_A_PIXEL = 9  # the byte itself, a float32 copy, and TensorFlow's
HELD_OUT = 7  # one of so many images is held out where a set has no test part, as MNIST's 10,000 of 70,000
PARTS = ("x_train", "y_train", "x_test", "y_test")
WANTED = f"images of one size from {SMALLEST}x{SMALLEST} to {LARGEST}x{LARGEST}"
WORDS = {
    "train": {"train", "training"},
    "test": {"test", "testing", "t10k"},
    "x": {"x", "images", "image", "imgs", "pixels", "data"},
    "y": {"y", "labels", "label", "targets", "target", "classes"},
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a file or a folder holds: raw arrays by part (PARTS, or "x" and "y" without a test part), and notes.

    `names` are those of classes by their label, where the file says them.
    """

    arrays: Mapping[str, Array]
    notes: tuple[str, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Raw images for training and test: uint8 (N, H, W), in colour (N, H, W, 3); labels (N,), places in `classes`."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    classes: tuple[str, ...] = DIGITS

    def __iter__(self) -> Iterator[tuple[str, Array]]:
        return ((name, getattr(self, name)) for name in PARTS)

    @property
    def images(self) -> Images:
        """What they are."""
        height, width, *colours = self.x_train.shape[1:]
        return Images(height=height, width=width, channels=len(colours) * 2 + 1, classes=self.classes)

    def hash_arrays(self) -> dict[str, str]:
        """sha256 of each array's bytes in C order."""
        return {name: hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() for name, array in self}


def name_part(name: str) -> str:
    """The part that a file's or an array's name means, such as x_train; empty for none."""
    words = set(re.findall(r"t10k|[a-z]+", name.lower()))
    found = {part for part, known in WORDS.items() if words & known}
    kinds, whens = found & {"x", "y"}, found & {"train", "test"}
    if not kinds or len(whens) > 1:
        return ""
    return "_".join(["y" if "y" in kinds else "x", *whens])  # both kinds are in train_data_labels


def settle(found: Found) -> tuple[ImageSet, tuple[str, ...]]:
    """The set as a training takes it, and what was done to its arrays; raises DataError without the path."""
    arrays, notes = dict(found.arrays), list(found.notes)
    for name in sorted(arrays, key=lambda name: name[0]):  # all images first
        if name.startswith("x"):
            arrays[name] = _settle_images(name, arrays[name], notes)
        else:
            arrays[name] = settle_labels(name, arrays[name], len(arrays[name.replace("y", "x")]), notes)
    given = "x" not in arrays and "x_test" in arrays
    if not given:
        arrays = _hold_out(arrays, notes)
    for images, labels in (PARTS[:2], PARTS[2:]):
        if len(arrays[images]) != len(arrays[labels]):
            raise DataError(
                f"{images} holds {len(arrays[images]):,} images and {labels} {len(arrays[labels]):,} labels; "
                "give as many labels as images"
            )
    size, other = (_say_size(arrays[name].shape[1:]) for name in ("x_train", "x_test"))
    if size != other:
        raise DataError(f"x_train holds {size} images and x_test {other} ones; give both in one size and colour")
    (train, test), classes = name_classes(arrays["y_train"], arrays["y_test"], found.names, notes, strict=given)
    x_train, x_test = arrays["x_train"], arrays["x_test"]
    return ImageSet(x_train=x_train, y_train=train, x_test=x_test, y_test=test, classes=classes), tuple(notes)


def check_sizes(shapes: Mapping[str, tuple[tuple[int, ...], int]]) -> None:
    """Raise DataError for images of a size that is not taken, and where all arrays do not fit into memory.

    `shapes` has, by part, what the arrays' headers promise: the shape, and the bytes of one number.
    """
    for name, (shape, _) in shapes.items():
        if name.startswith("x"):
            read_shape(name, shape)
    needed = {name: math.prod(shape) * max(itemsize, BYTES_A_PIXEL) for name, (shape, itemsize) in shapes.items()}
    total, there = sum(needed.values()), psutil.virtual_memory().available
    if total > there:
        name = max(needed, key=needed.__getitem__)
        others = "with the other arrays takes" if len(needed) > 1 else "takes"
        raise DataError(
            f"{name} has shape {shapes[name][0]}, which {others} {total / 2**30:,.1f} GiB to train on, and this "
            f"machine has {there / 2**30:,.1f} GiB free; give fewer images"
        )


def read_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape (N, H, W) or (N, H, W, 3) that images of such a shape are read as; raises DataError."""
    number, rest = shape[:1], shape[1:]
    if len(rest) == 3 and 1 in (rest[0], rest[2]):
        rest = rest[1:] if rest[0] == 1 else rest[:2]
    elif len(rest) == 3 and rest[0] == 3 and rest[2] != 3:
        rest = (*rest[1:], 3)
    elif len(rest) == 1 and (side := math.isqrt(rest[0])) ** 2 == rest[0]:
        rest = (side, side)
    if len(rest) == 3 and rest[2] in (2, 4):
        raise DataError(f"{name} has shape {shape}; {rest[2]} channels are not read, give 3: images[..., :3], or 1")
    if len(rest) == 1 and rest[0] % 3 == 0 and math.isqrt(rest[0] // 3) ** 2 * 3 == rest[0]:
        side = math.isqrt(rest[0] // 3)
        raise DataError(
            f"{name} has shape {shape}, in which channels may come first or last; give images.reshape(-1, 3, {side}, "
            f"{side}) or images.reshape(-1, {side}, {side}, 3)"
        )
    if len(rest) not in (2, 3) or (len(rest) == 3 and rest[2] != 3):
        raise DataError(f"{name} has shape {shape}, not (N, height, width) or (N, height, width, 3)")
    if not all(SMALLEST <= side <= LARGEST for side in rest[:2]):
        raise DataError(f"{name} has shape {shape}; wanted are {WANTED}, so scale them")
    return (*number, *rest)


def _settle_images(name: str, images: Array, notes: list[str]) -> Array:
    """uint8 (N, H, W) or (N, H, W, 3)."""
    shape = read_shape(name, images.shape)
    if len(shape) == 4 and images.shape != shape:
        images = images.transpose(0, 2, 3, 1)
        notes.append(f"{name}: channels moved from first to last, {shape}")
    elif images.shape != shape:
        notes.append(f"{name}: {images.shape} read as {shape}")
        images = images.reshape(shape)
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


def _say_size(shape: tuple[int, ...]) -> str:
    """An image's shape in words, as 32x32 colour."""
    return f"{shape[0]}x{shape[1]} {'colour' if len(shape) == 3 else 'grey'}"


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
