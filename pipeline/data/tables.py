"""Images in CSV tables: a row an image, its label and its pixels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from pipeline.data.arrays import Array, Found, check_sizes
from pipeline.errors import DataError
from pipeline.images import LARGEST, SMALLEST

LABELS = ("label", "class", "target", "y")


def read_tables(tables: list[Path]) -> Found:
    """Kaggle's train.csv and test.csv, the latter often without labels."""
    whens = {when: [file for file in tables if when in file.stem.lower()] for when in ("train", "test")}
    if len(tables) > 1 and (len(whens["train"]) != 1 or len(whens["test"]) > 1):
        raise DataError(f"holds {', '.join(file.name for file in tables)}; name the one with the training images")
    images, labels = read_table(whens["train"][0] if whens["train"] else tables[0])
    if labels is None:
        raise DataError(f"{tables[0].name} has no column of labels; give one named label")
    if not whens["test"]:
        return Found(arrays={"x": images, "y": labels})
    test_images, test_labels = read_table(whens["test"][0])
    if test_labels is None:
        note = f"{whens['test'][0].name} has no labels and is not used"
        return Found(arrays={"x": images, "y": labels}, notes=(note,))
    return Found(arrays={"x_train": images, "y_train": labels, "x_test": test_images, "y_test": test_labels})


def read_table(path: Path) -> tuple[Array, Array | None]:
    """Images and labels of a CSV table: a column label, or the first beside square images; None without labels."""
    import pandas as pd

    check_sizes({path.name: ((path.stat().st_size,), 4)})
    first = pd.read_csv(path, nrows=1, header=None, dtype=str)
    # The first value may be a class's name.
    headed = not all(str(value).lstrip("-").replace(".", "", 1).isdigit() for value in first.iloc[0, 1:])
    try:
        table = pd.read_csv(path, header=0 if headed else None)
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path.name} is not a table ({' '.join(str(error).split())}); give label, pixel0, pixel1 ..."
        ) from error
    named = [column for column in table.columns if str(column).lower() in LABELS]
    label = named[0] if named else table.columns[0] if _is_square(table.shape[1] - 1) else None
    pixels = table.drop(columns=[label] if label is not None else [])
    if not all(kind.kind in "iuf" for kind in pixels.dtypes):
        raise DataError(f"{path.name} has columns that are no numbers; give label, pixel0, pixel1 ...")
    images: Array = pixels.to_numpy()
    if _is_square(images.shape[1]) and images.dtype.kind == "i" and 0 <= images.min() <= images.max() <= 255:
        images = images.astype(np.uint8).reshape(-1, *2 * [math.isqrt(images.shape[1])])
    return images, None if label is None else table[label].to_numpy()


def _is_square(pixels: int) -> bool:
    """Whether so many pixels make a square image of a size that is taken."""
    return SMALLEST <= math.isqrt(pixels) <= LARGEST and math.isqrt(pixels) ** 2 == pixels
