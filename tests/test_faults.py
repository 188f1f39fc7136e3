"""The table of faults names tests that exist, and says rightly which of them are slow."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

ROWS = [line.split(" | ") for line in (ROOT / "tests" / "FAULTS.md").read_text().splitlines() if line.startswith("| ")][
    2:
]
NAMED = [
    (int(row[0].removeprefix("| ")), path, name, speed)
    for row in ROWS
    for path, name, speed in re.findall(r"`([^`]+)::([^`]+)` (\w+)", row[-1])
]


@functools.cache
def read_tests(path: Path) -> dict[str, str]:
    """Name -> "fast" or "slow" of every test of a file, read without running it."""
    tree = ast.parse(path.read_text())
    all_slow = any(
        isinstance(node, ast.Assign) and ast.unparse(node) == "pytestmark = pytest.mark.slow" for node in tree.body
    )
    return {
        node.name: "slow" if all_slow or is_slow(node) else "fast"
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def is_slow(test: ast.FunctionDef) -> bool:
    """Whether a test, and not only some of its cases, is marked as slow."""
    return any(ast.unparse(decorator) == "pytest.mark.slow" for decorator in test.decorator_list)


def test_every_fault_has_its_row_and_at_least_one_test() -> None:
    numbers = [int(row[0].removeprefix("| ")) for row in ROWS]
    assert numbers == list(range(1, len(ROWS) + 1))
    assert {number for number, *_ in NAMED} == set(numbers)
    assert f"lists {len(ROWS)} faults" in (ROOT / "README.md").read_text()
    assert all(len(row) == 5 and all(row) for row in ROWS)


@pytest.mark.parametrize(("number", "path", "name", "speed"), NAMED)
def test_a_named_test_exists_and_is_as_slow_as_the_table_says(number: int, path: str, name: str, speed: str) -> None:
    found = read_tests(ROOT / path)
    assert name in found, f"row {number}"
    assert found[name] == speed


def test_every_test_of_this_room_stands_in_the_table() -> None:
    named = {(path, name) for _, path, name, _ in NAMED}
    rest = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in (ROOT / "tests" / "faults").glob("test_*.py")
        for name in read_tests(path)
    } - named
    assert {name for _, name in rest} == {"test_every_option_of_a_run_is_tried_here"}
