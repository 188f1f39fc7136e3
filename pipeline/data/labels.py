"""What the labels of a data set mean: one class an image, numbered from 0 in the order of its names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError
from pipeline.images import FEWEST_CLASSES, LONGEST_NAME, MOST_CLASSES, is_name
from pipeline.plain import escape_controls

Array = npt.NDArray[Any]
SHOWN = 5  # classes named in an error or a warning


def settle_labels(name: str, labels: Array, number: int, notes: list[str]) -> Array:
    """(N,) whole numbers from 0, or texts; raises DataError."""
    shape = labels.shape
    if labels.dtype == object and all(isinstance(label, str) for label in labels.flat):  # a table's
        labels = labels.astype(str)
    if labels.dtype.kind not in "buifU":
        raise DataError(f"{name} holds {labels.dtype}; give classes as whole numbers or as names")
    if labels.ndim == 2 and shape[1] == 1:
        labels = labels[:, 0]
        notes.append(f"{name}: {shape} read as labels.squeeze()")
    elif labels.ndim == 2 and labels.dtype.kind != "U" and shape[0] == number and _is_one_hot(labels):
        labels = labels.argmax(axis=1)
        notes.append(f"{name}: one-hot {shape} read as labels.argmax(1)")
    if labels.ndim != 1:
        raise DataError(f"{name} has shape {shape}, not (N,); give one class a picture: labels.argmax(1) if one-hot")
    if not len(labels):
        raise DataError(f"{name} is empty; give labels")
    if labels.dtype.kind == "U":
        return labels
    if (labels != np.rint(labels)).any():
        raise DataError(f"{name} holds {labels.dtype} that are not whole; give each class a whole number or a name")
    if labels.min() < 0:
        raise DataError(f"{name} has labels from {labels.min():g} to {labels.max():g}; number the classes from 0")
    return labels.astype(np.int64)


def name_classes(
    train: Array, test: Array, names: Mapping[int, str], notes: list[str], *, strict: bool
) -> tuple[tuple[Array, Array], tuple[str, ...]]:
    """The labels as places in the classes' names, and these names, in the order of numbers or of the alphabet.

    A number is its own name unless `names` has one. `strict` refuses a class that the training images do not show.
    Raises DataError.
    """
    if train.dtype.kind != test.dtype.kind:
        raise DataError("the labels are numbers in one part and names in the other; give both alike")
    if strict and len(strange := np.setdiff1d(test, train)):
        raise DataError(
            f"y_test has the class {list_some(strange)}, which y_train has not; give training images of it, or drop it"
        )
    values = np.unique(np.concatenate([train, test]))
    if not FEWEST_CLASSES <= len(values) <= MOST_CLASSES:
        raise DataError(
            f"the labels name {len(values):,} class{'es' * (len(values) > 1)} ({list_some(values)}); "
            f"{FEWEST_CLASSES} to {MOST_CLASSES:,} are needed"
        )
    if values.dtype.kind == "U" and all(map(str.isdecimal, values.tolist())):
        values = np.array(sorted(values.tolist(), key=lambda text: (int(text), text)))
    classes = tuple(str(names.get(value, value)) for value in values.tolist())
    if bad := [name for name in classes if not is_name(name)]:
        shown = escape_controls(bad[0])[:LONGEST_NAME]
        raise DataError(f'"{shown}" cannot name a class; give 1 to {LONGEST_NAME} printable characters')
    if len(set(classes)) < len(classes):
        raise DataError("two classes have one name; give each its own")
    if values.dtype.kind != "U" and not names and values.tolist() != list(range(len(values))):
        notes.append(f"labels {values[0]} to {values[-1]} read as {len(values)} classes of these names")
    order = np.argsort(values, kind="stable")
    kind = np.uint8 if len(values) <= 256 else np.int32  # the latter is what TensorFlow's one_hot takes
    places = (order[np.searchsorted(values, labels, sorter=order)].astype(kind) for labels in (train, test))
    return (next(places), next(places)), classes


def list_some(labels: Array | Sequence[str]) -> str:
    """The first of some labels or names, and how many there are more."""
    shown = ", ".join(escape_controls(str(label))[:LONGEST_NAME] for label in labels[:SHOWN])
    return f"{shown} and {len(labels) - SHOWN:,} more" if len(labels) > SHOWN else shown


def _is_one_hot(labels: Array) -> bool:
    """Whether each row has one 1 and else 0."""
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())
