"""A command and its terminal: a sign of life before the first word, what does not reach it, how Ctrl-C is answered."""

from __future__ import annotations

import errno
import itertools
import os
import select
import shlex
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import click
from click.core import ParameterSource

from pipeline.errors import RunKilled

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


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what the block writes to file descriptor 2; print it only if the block raises.

    TensorFlow's C++ writes there before any log level can be set.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def close(stream: TextIO) -> None:
    """Let what is still to be written to a stream of this process go nowhere, as its reader has left."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


@contextmanager
def outliving_reader() -> Iterator[None]:
    """Let a reader of standard output that has left (`| head`) end the block, and nothing else."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        if not is_stdout_closed():  # another connection broke
            raise
        close(sys.stdout)


@contextmanager
def outliving_terminal() -> Iterator[None]:
    """Let a terminal that has closed end no write in the block, nor one after it."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        for stream in (sys.stdout, sys.stderr):
            close(stream)


def is_stdout_closed() -> bool:
    """Whether nobody reads what is printed any more."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # it is not a file, as in a notebook
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


@contextmanager
def telling_stop(say: Callable[[], str]) -> Iterator[None]:
    """When a signal stops the block, report what `say` returns, unless code closer to the work has said more."""
    try:
        yield
    except RunKilled as killed:
        killed.said = killed.said or say()
        raise


def repeat_command(context: click.Context) -> str:
    """The command that is running, as it can be typed again: its arguments, and the options that were given."""
    words = context.command_path.split()
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if context.get_parameter_source(parameter.name or "") != ParameterSource.COMMANDLINE:
            continue
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        else:
            words += [parameter.opts[0]] if parameter.is_flag else [parameter.opts[0], str(value)]  # type: ignore[attr-defined]
    return shlex.join(words)
