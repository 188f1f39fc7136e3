"""The wheel that turns on a terminal while a command has said nothing yet."""

from __future__ import annotations

import io
import sys
import time

import pytest

from pipeline.cli import terminal
from pipeline.cli.terminal import showing_life


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def open_screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Both streams of a terminal, to be opened in the test: pytest puts back what a fixture sets."""
    screen = Screen()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, screen)
    monkeypatch.setattr(terminal, "PATIENCE", 0.05)
    return screen


def test_the_wheel_turns_until_the_first_word_and_is_wiped_away(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = open_screen(monkeypatch)
    deadline = time.monotonic() + 60
    with showing_life():
        while screen.getvalue().count("Loading ...") < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        print("a result")
        time.sleep(0.2)
        print("another")
    turned, wiped, rest = screen.getvalue().rpartition(terminal.ERASE)
    assert turned.count("Loading ...") > 1
    assert wiped
    assert rest == "a result\nanother\n"
    assert sys.stdout is screen


def test_a_quick_command_and_one_that_fails_leave_no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = open_screen(monkeypatch)
    with pytest.raises(StopIteration), showing_life():  # noqa: PT012
        time.sleep(0.2)
        next(iter(()))
    assert screen.getvalue().endswith(terminal.ERASE)
    monkeypatch.setattr(terminal, "PATIENCE", 5)
    before = screen.getvalue()
    with showing_life():
        print("at once")
    assert screen.getvalue() == f"{before}at once\n"


def test_no_wheel_turns_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setattr(terminal, "PATIENCE", 0.05)
    with showing_life():
        time.sleep(0.2)
    assert log.getvalue() == ""
