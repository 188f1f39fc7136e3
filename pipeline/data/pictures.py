"""A data set of picture files, in a folder for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data.arrays import Array, Found, check_sizes
from pipeline.errors import DataError

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
GREY = ("1", "L", "LA", "La")
DEEP = ("I", "F")  # modes with more than 8 bits a pixel, of which a conversion would keep the lowest values alone
TRAIN, TEST = {"train", "training"}, {"test", "testing", "val", "valid", "validation"}


def read_pictures(folder: Path, pictures: list[Path]) -> Found:
    """Pictures of one size in CLASS/ or in train/CLASS/ and test/CLASS/ (or val/), in the order of their names.

    They are colour if any of them shows a colour.
    """
    if any(file.parent == folder for file in pictures):
        raise DataError("holds pictures that are in no class's folder; put them into CLASS/, such as train/7/")
    tops = {file: file.relative_to(folder).parts[0].lower() for file in pictures}
    test = [file for file in pictures if tops[file] in TEST]
    train = [file for file in pictures if tops[file] in TRAIN] or [file for file in pictures if tops[file] not in TEST]
    files = {"_train" if test else "": train} | ({"_test": test} if test else {})
    with Image.open(pictures[0]) as first:
        size, named = first.size, pictures[0].relative_to(folder)
    check_sizes({f"x{suffix}": ((len(part), size[1], size[0], 3), 1) for suffix, part in files.items()})
    read = {suffix: [_read_picture(file, folder, size, str(named)) for file in part] for suffix, part in files.items()}
    colour = any(image.ndim == 3 and np.ptp(image, axis=-1).any() for part in read.values() for image in part)
    arrays: dict[str, Array] = {}
    for suffix, part in read.items():
        arrays[f"x{suffix}"] = np.stack([_fit_channels(image, colour) for image in part])
        arrays[f"y{suffix}"] = np.array([file.parent.name for file in files[suffix]])
    return Found(arrays=arrays)


def _read_picture(file: Path, folder: Path, size: tuple[int, int], first: str) -> Array:
    """A picture of a data set, uint8 (H, W) or (H, W, 3); its header has the say before it is decoded."""
    with Image.open(file) as picture:
        if picture.size != size:
            where, one = file.relative_to(folder), f"{size[0]}x{size[1]}"
            raise DataError(
                f"{where} is {picture.width}x{picture.height}, and {first} {one}; scale the pictures to one size"
            )
        if picture.mode.startswith(DEEP):
            where = file.relative_to(folder)
            raise DataError(f"{where} has pixels with more than 8 bits ({picture.mode}); save the pictures with 8 bits")
        return np.asarray(picture.convert("L" if picture.mode.startswith(GREY) else "RGB"))


def _fit_channels(image: Array, colour: bool) -> Array:
    """The image with three channels, or with none."""
    if image.ndim == 3:
        return image if colour else image[..., 0]
    return np.repeat(image[..., np.newaxis], 3, axis=-1) if colour else image
