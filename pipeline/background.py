"""Something done again and again beside a block of code, or given up after so many seconds."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool
from typing import TypeVar

Answer = TypeVar("Answer")


@contextmanager
def repeat(action: Callable[[], object], seconds: float) -> Iterator[None]:
    """Call `action` every so many seconds, on a thread of its own, until the block ends."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(seconds):
            action()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def answer_within(seconds: float, question: Callable[[], Answer]) -> Answer:
    """What `question` answers, asked on a thread that nobody waits for at exit; raises TimeoutError.

    For what another machine answers: the timeout of a socket starts afresh with every byte that comes.
    """
    pool = ThreadPool(1)
    try:
        return pool.apply_async(question).get(seconds)
    except multiprocessing.TimeoutError as error:
        raise TimeoutError(f"no answer within {seconds:g} s") from error
    finally:
        pool.close()
