"""Files made for their owner alone (the umask may forbid more, what is there keeps its mode), named in errors, read
only where they are regular files.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700


def open_privately(path: str, flags: int) -> int:
    """An `opener` for Python's open: a new file is its owner's alone."""
    return os.open(path, flags, FILE_MODE)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are not there; each new one is its owner's alone."""
    for each in (*reversed(folder.parents), folder):
        each.mkdir(mode=FOLDER_MODE, exist_ok=True)


@contextmanager
def name_file(path: Path) -> Iterator[None]:
    """Let an OSError of the block say which file it is about: a write that finds no space does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def check_regular(path: Path) -> None:
    """Raise OSError for what is there and not a regular file: a pipe never ends, a device may never answer."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def expand_home(path: str) -> Path:
    """A path with the home folder in the place of its ~, as it stands where nobody knows that home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  Path.expanduser raises where nobody knows it


def is_there(path: Path) -> bool:
    """Whether a path names something; one that cannot name anything, as it is too long, does not."""
    return os.path.exists(path)  # noqa: PTH110  Path.exists raises for it


def read_regular(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes; raises OSError."""
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"more than {limit:,} bytes", str(path))
    return content
