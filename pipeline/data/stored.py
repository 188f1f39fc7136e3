"""Arrays of .npy and IDX files, trusting nothing: every header is read and checked before any number is."""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipeline.data.arrays import Array, check_sizes
from pipeline.errors import DataError

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
QMNIST = 8  # numbers of which its labels are made; the class comes first


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """An array whose header has been read: what it promises, and the stream that is to hold it."""

    name: str
    stream: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool = False
    labels: bool = False

    def read(self) -> Array:
        """The array, which the stream must hold to the byte."""
        size = math.prod(self.shape) * self.dtype.itemsize
        content = self.stream.read(size + 1)
        if len(content) != size:
            read = f"{min(len(content), size):,} of {size:,} bytes"
            raise ValueError(f"{self.name}: {read}, or more than its header says")
        array = np.frombuffer(content, self.dtype)
        if self.labels:
            return array.reshape(self.shape)[:, 0]
        return array.reshape(self.shape[::-1]).T if self.fortran else array.reshape(self.shape)


def read_members(archive: zipfile.ZipFile, members: Mapping[str, str]) -> dict[str, Array]:
    """The .npy members of an archive, by part."""
    with ExitStack() as stack:
        opened = {part: stack.enter_context(archive.open(member)) for part, member in members.items()}
        return _read_all({part: open_npy(stream, members[part]) for part, stream in opened.items()})


def read_files(files: Mapping[str, Path]) -> dict[str, Array]:
    """IDX, .npy or one-array .npz files, by part."""
    with ExitStack() as stack:
        return _read_all({part: _open_array(path, stack) for part, path in files.items()})


def _read_all(stored: Mapping[str, Stored]) -> dict[str, Array]:
    """The arrays by part, once all headers promise what is taken and fits into memory together."""
    check_sizes({part: (each.shape, each.dtype.itemsize) for part, each in stored.items()})
    return {part: each.read() for part, each in stored.items()}


def open_npy(stream: IO[bytes], name: str) -> Stored:
    """The header of an .npy file of plain numbers or texts."""
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise DataError(f"{name} holds {dtype}, which may run programs and is never opened; save plain numbers")
    if min(shape, default=0) < 0:
        raise ValueError(f"{name} has the shape {shape}")
    return Stored(name=name, stream=stream, shape=shape, dtype=dtype, fortran=fortran)


def _open_array(path: Path, stack: ExitStack) -> Stored:
    """One array of a file, gzipped or not, whatever its name says."""
    with path.open("rb") as stream:
        head = stream.read(4)
    if head.startswith(b"PK"):
        archive = stack.enter_context(zipfile.ZipFile(path))
        names = archive.namelist()
        if len(names) != 1:
            raise DataError(f"{path.name} holds {', '.join(names)}; one array is wanted")
        return open_npy(stack.enter_context(archive.open(names[0])), path.name)
    opened: Any = gzip.open(path) if head.startswith(b"\x1f\x8b") else path.open("rb")  # noqa: SIM115
    stream = stack.enter_context(opened)
    start = stream.read(4)
    if start == b"\x93NUM":
        stream.seek(0)
        return open_npy(stream, path.name)
    if not is_idx(start):
        raise DataError(f"{path.name} does not begin as an IDX file; fetch it again")
    shape = struct.unpack(f">{start[3]}I", stream.read(4 * start[3]))
    labels = len(shape) == 2 and shape[1] == QMNIST
    return Stored(name=path.name, stream=stream, shape=shape, dtype=np.dtype(IDX_TYPES[start[2]]), labels=labels)


def is_idx(head: bytes) -> bool:
    """Whether a file begins as IDX does."""
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in IDX_TYPES
