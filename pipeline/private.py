"""Files and folders made for their owner alone; the umask may forbid more, and what is there keeps its mode."""

from __future__ import annotations

import os
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
