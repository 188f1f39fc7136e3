"""Checkpoints that a killed training goes on from bit for bit: one file an epoch, complete and verified, or refused.

A file is a line that names the kind, the length of a JSON header (8 bytes, little-endian), the header, the arrays as
.npz, and the sha256 of all that. Keras's own files hold no metric history and no hash, and are written in place: one
flipped bit loads silently, and a full disk destroys the previous one too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from pipeline.errors import ResumeError
from pipeline.faults import fault_point
from pipeline.private import FILE_MODE, make_folder, name_file, open_privately
from pipeline.training.observer import Epoch

MAGIC = b"mnist-study checkpoint\n"
FORMAT = 1
HASH_SIZE = 32
KEPT = 2
UNREADABLE = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OSError, zipfile.BadZipFile)
"""What reading a file raises that has the right hash and that another hand has made."""
SUFFIX = ".checkpoint"

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A training after its last epoch in `epochs`: every variable by its name, and what made them.

    `config` is what training.fingerprint.identify_training says; `name` is the file's, "" where there is none.
    """

    config: Mapping[str, str]
    epochs: Sequence[Epoch]
    arrays: Arrays
    name: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """One run's folder while its training holds it.

    `start` is the newest usable checkpoint, None where there was no file; `refused` says why newer ones are unusable.
    """

    folder: Path
    config: Mapping[str, str]
    start: Checkpoint | None
    refused: Sequence[str]

    def save(self, epochs: Sequence[Epoch], arrays: Arrays) -> None:
        """Write the checkpoint of the last of `epochs`, then let go of all but the one before; raises OSError."""
        content = encode_checkpoint(Checkpoint(config=self.config, epochs=epochs, arrays=arrays))
        write_durably(self.folder / f"epoch-{len(epochs):05}{SUFFIX}", content)
        for old in find_checkpoints(self.folder)[KEPT:]:
            old.unlink()
            fault_point("checkpoint-dropped")


@contextmanager
def hold_checkpoints(folder: Path, config: Mapping[str, str]) -> Iterator[Checkpoints]:
    """The checkpoints of one run, for this process alone until the block ends.

    Raises ResumeError where another process holds them, or where there are files and none is usable.
    """
    make_folder(folder)
    try:
        lock = FileLock(folder / ".lock", timeout=0, mode=FILE_MODE).acquire()
    except Timeout as error:
        raise ResumeError(f"another process trains run {folder.name} at this moment; let it end") from error
    with lock:
        start, refused = load_newest(folder, config)
        yield Checkpoints(folder=folder, config=config, start=start, refused=refused)


def load_newest(folder: Path, config: Mapping[str, str]) -> tuple[Checkpoint | None, list[str]]:
    """The newest usable checkpoint, and why each newer one is refused; raises ResumeError if all of them are."""
    refused: list[str] = []
    for path in find_checkpoints(folder):
        try:
            return read_checkpoint(path, config), refused
        except ResumeError as error:
            refused.append(str(error))
    if refused:
        raise ResumeError(f"run {folder.name} has no usable checkpoint: {'; '.join(refused)}; train it again")
    return None, []


def find_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints' files in a folder, newest first; none where there is no folder."""
    return sorted(folder.glob(f"epoch-*{SUFFIX}"), reverse=True)


def drop_checkpoints(folder: Path) -> None:
    """Remove the folder of a run that has finished whole."""
    shutil.rmtree(folder)


def read_checkpoint(path: Path, config: Mapping[str, str]) -> Checkpoint:
    """The checkpoint in a file, if it is whole and of this `config`; raises ResumeError that names the file."""
    try:
        checkpoint = decode_checkpoint(path.read_bytes())
    except ResumeError as error:
        raise ResumeError(f"{path.name} {error}") from error
    names = sorted({*config, *checkpoint.config})
    pairs = {name: (checkpoint.config.get(name, "unknown"), config.get(name, "unknown")) for name in names}
    if foreign := [f"{name} {theirs}, here {ours}" for name, (theirs, ours) in pairs.items() if theirs != ours]:
        raise ResumeError(f"{path.name} is of another training: {', '.join(foreign)}")
    return dataclasses.replace(checkpoint, name=path.name)


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """The whole file's content; JSON keeps every float's bits."""
    epochs = [epoch._asdict() for epoch in checkpoint.epochs]
    header = json.dumps({"format": FORMAT, "config": dict(checkpoint.config), "epochs": epochs}).encode()
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **checkpoint.arrays)
    content = MAGIC + len(header).to_bytes(8, "little") + header + stream.getvalue()
    return content + hashlib.sha256(content).digest()


def decode_checkpoint(content: bytes) -> Checkpoint:
    """The checkpoint that encode_checkpoint wrote; raises ResumeError for any other bytes."""
    if not content.startswith(MAGIC):
        raise ResumeError("is not a checkpoint of this program")
    if hashlib.sha256(content[:-HASH_SIZE]).digest() != content[-HASH_SIZE:]:
        raise ResumeError("is damaged: its sha256 is not that of its content")
    try:
        return _decode_parts(content)
    except UNREADABLE as error:
        raise ResumeError(f"is not as this program writes it ({type(error).__name__})") from error


def _decode_parts(content: bytes) -> Checkpoint:
    """The parts of a file whose hash is right; raises ResumeError for another format, and one of UNREADABLE.

    A hash proves no origin: arrays are stored as they are, so that none can be larger than the file.
    """
    first = len(MAGIC) + 8
    last = first + int.from_bytes(content[len(MAGIC) : first], "little")
    header = json.loads(content[first:last])
    if header["format"] != FORMAT:
        raise ResumeError(f"has format {header['format']}, and this version reads format {FORMAT}")
    stream = io.BytesIO(content[last:-HASH_SIZE])
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError("packed arrays")
            with archive.open(member) as array:
                _check_array(array, member.file_size)
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as arrays:
        return Checkpoint(
            config=header["config"],
            epochs=[Epoch(**epoch) for epoch in header["epochs"]],
            arrays=dict(arrays),
        )


def _check_array(stream: IO[bytes], size: int) -> None:
    """Raise ValueError for an array that promises more than its file of `size` bytes holds."""
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("another array format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if math.prod(shape) * dtype.itemsize > size:
        raise ValueError("an array with more values than its file")


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, whatever dies when; raises OSError."""
    temporary = path.with_suffix(".unfinished")
    try:
        with name_file(temporary), open(temporary, "wb", opener=open_privately) as file:
            fault_point("checkpoint-opened")
            for part in (content[: len(content) // 2], content[len(content) // 2 :]):
                file.write(part)
                file.flush()
                fault_point("checkpoint-part-written")
            os.fsync(file.fileno())
        fault_point("checkpoint-synced")
        temporary.replace(path)
        fault_point("checkpoint-replaced")
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name is safe only with its folder
    finally:
        os.close(folder)
    fault_point("checkpoint-safe")
