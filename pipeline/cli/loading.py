"""A sign of life on a terminal while a command loads what it needs and has said nothing yet."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

PATIENCE, FRAME = 0.6, 0.1  # seconds of silence, seconds of a picture
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
ERASE = "\r\x1b[K"


@contextmanager
def showing_life(words: str = "Loading") -> Iterator[None]:
    """Turn a wheel on a terminal's standard error until the block says something or ends."""
    if not sys.stderr.isatty():
        yield
        return
    spoken, streams = threading.Event(), (sys.stdout, sys.stderr)
    wheel = threading.Thread(target=_turn, args=(sys.stderr, words, spoken), daemon=True)

    def speak() -> None:
        if not spoken.is_set():
            spoken.set()
            wheel.join()

    wheel.start()
    sys.stdout, sys.stderr = (_Spoken(stream, speak) for stream in streams)
    try:
        yield
    finally:
        speak()
        sys.stdout, sys.stderr = streams


def _turn(terminal: TextIO, words: str, spoken: threading.Event) -> None:
    if spoken.wait(PATIENCE):
        return
    with suppress(OSError, ValueError):  # the terminal has closed
        for frame in itertools.cycle(FRAMES):
            terminal.write(f"\r{frame} {words} ...")
            terminal.flush()
            if spoken.wait(FRAME):
                break
        terminal.write(ERASE)
        terminal.flush()


class _Spoken:
    """A stream that tells of the first word written to it."""

    def __init__(self, stream: TextIO, speak: Any) -> None:
        self._stream, self._speak = stream, speak

    def write(self, text: str) -> int:
        """Write as the stream does."""
        if text:
            self._speak()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
