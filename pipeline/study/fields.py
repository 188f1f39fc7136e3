"""The form of an experiment file and of a variants file: which keys there are and what each may hold."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ExperimentError
from pipeline.private import read_regular

DEPTH = 50
TOML_LIMIT = 1_000_000  # bytes; a study with hundreds of networks has some 50,000


@dataclass(frozen=True, kw_only=True)
class Key:
    """What one key may hold: `accepts` decides, `says` tells a person."""

    says: str
    accepts: Callable[[Any], bool]


def whole(low: int, high: int) -> Key:
    """A whole number from `low` to `high`, both allowed; true and false are no numbers."""
    return Key(
        says=f"a whole number from {low} to {high}", accepts=lambda value: type(value) is int and low <= value <= high
    )


def positive(below: float = math.inf) -> Key:
    """A finite number above 0."""
    says = f"a number between 0 and {below:g}" if math.isfinite(below) else "a number above 0"
    return Key(says=says, accepts=lambda value: type(value) in (int, float) and 0 < value < below)


def choice(*words: str) -> Key:
    """One of these words."""
    return Key(says="one of " + ", ".join(f'"{word}"' for word in words), accepts=lambda value: value in words)


def pattern(form: str, says: str) -> Key:
    """A text that matches the pattern `form` as a whole."""
    return Key(
        says=says, accepts=lambda value: isinstance(value, str) and re.fullmatch(form, value, re.ASCII) is not None
    )


def words(form: str, says: str) -> Key:
    """One or more words, parted by blanks, each of which matches the pattern `form` as a whole."""
    each = pattern(form, says)
    return Key(
        says=says,
        accepts=lambda value: isinstance(value, str) and bool(value.split()) and all(map(each.accepts, value.split())),
    )


def several(each: Key, what: str) -> Key:
    """A list of one or more different values, each as `each` wants it."""
    return Key(
        says=f"a list of different {what}",
        accepts=lambda value: (
            isinstance(value, list) and bool(value) and all(map(each.accepts, value)) and len(set(value)) == len(value)
        ),
    )


def tables(example: str) -> Key:
    """A list of tables, each checked on its own."""
    return Key(
        says=f"tables, as [[{example}]]",
        accepts=lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
    )


TEXT = Key(
    says="one line of text",
    accepts=lambda value: isinstance(value, str) and bool(value.strip()) and value.isprintable(),
)
TRUTH = Key(says="true or false", accepts=lambda value: isinstance(value, bool))


def _refuse_depth(text: str) -> None:
    """Raise RecursionError for more keys within keys than any file has: tomllib takes the square of their number."""
    depth = 0
    for part in text.split("."):
        depth = depth + 1 if part.replace('"', "").replace("-", "").strip().isalnum() else 0
        if depth > DEPTH:
            raise RecursionError


def read_toml(path: Path) -> dict[str, Any]:
    """The table that a TOML file holds; raises ExperimentError for a file that is missing or no TOML."""
    try:
        text = read_regular(path, TOML_LIMIT).decode()
        _refuse_depth(text)
        return tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        close = find_close(path) if isinstance(error, FileNotFoundError) else None
        remedy = f"did you mean {close}?" if close else "give a TOML file"
        raise ExperimentError(f"{path}: cannot be read ({reason}); {remedy}") from None
    except RecursionError:
        raise ExperimentError(f"{path}: not valid TOML (tables within tables); give a simpler file") from None
    except ValueError as error:  # also for a number of thousands of digits
        raise ExperimentError(f"{path}: not valid TOML ({str(error).splitlines()[0]}); fix that line") from None


def find_close(path: Path) -> Path | None:
    """The experiment's file whose name comes close to that of a file that is not there."""
    places = (path.parent, Path("experiments"), Path())
    files = {file.stem: file for place in places for file in sorted(place.glob("*.toml")) if file.stem != "pyproject"}
    close = difflib.get_close_matches(path.stem, files, n=1)
    return files[close[0]] if close else None


def refuse(path: Path, key: str, problem: str) -> ExperimentError:
    """The one line that names the file, the key and the remedy."""
    return ExperimentError(f"{path}: {key}: {problem}")


def check_table(path: Path, place: str, table: Mapping[str, Any], keys: Mapping[str, Key]) -> None:
    """Refuse a key of `table` that is not in `keys`, or whose value is not of its form.

    `place` is what stands before a key in the message, as "settings.".

    Raises:
        ExperimentError: names the file, the key and what it may hold.
    """
    for key, value in table.items():
        if key not in keys:
            raise refuse(path, place + key, f"unknown key; choose one of {', '.join(keys)}")
        if not keys[key].accepts(value):
            raise refuse(path, place + key, f"{value!r} does not fit; give {keys[key].says}")


def require_keys(path: Path, place: str, table: Mapping[str, Any], required: tuple[str, ...]) -> None:
    """Refuse a `table` that lacks one of the `required` keys; raises ExperimentError."""
    for key in required:
        if key not in table:
            raise refuse(path, place + key, "missing; add it")
