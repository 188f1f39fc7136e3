"""What stands in a store, checked where it is read: anybody may have written it, and one bad value stops nothing."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pipeline.images import CLASSES, SHAPE, is_number, is_shape
from pipeline.plain import escape_controls
from pipeline.study import metrics
from pipeline.study.settings import RULES, name_option
from pipeline.study.tags import ATTEMPT, BOOT_ID, EPOCH, HEARTBEAT, HOST, PID, PID_STARTED, TRAIN_IMAGES

WHOLE = re.compile(r"[0-9]{1,12}", re.ASCII)
SHOWN = 40  # characters of a bad value
FACTORS = ("depth-called", "depth-counted", "kernel", "parameters", "parameters-trainable")
Check = Callable[[Any], bool]


def read_moment(text: object) -> datetime | None:
    """The moment that an ISO 8601 text with a time zone names, None for any other text."""
    with suppress(ValueError):
        moment = datetime.fromisoformat(str(text))
        return moment if moment.tzinfo else None
    return None


def read_milliseconds(number: object) -> datetime | None:
    """The moment so many milliseconds after 1970, None for what is none."""
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(float(str(number)) / 1000, UTC)
    return None


def read_count(text: object) -> int | None:
    """A whole number that is not negative, None for any other text."""
    return int(str(text)) if WHOLE.fullmatch(str(text)) else None


def read_number(text: object) -> float | None:
    """A finite number, None for any other text."""
    with suppress(ValueError):
        number = float(str(text))
        return number if math.isfinite(number) else None
    return None


def read_texts(text: object) -> dict[str, str] | None:
    """A JSON object of texts, None for anything else."""
    with suppress(ValueError, RecursionError):
        found = json.loads(str(text))
        if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
            return found
    return None


def read_lease(text: object) -> dict[str, str]:
    """The process that a lease names, empty where it names none."""
    lease = read_texts(text) or {}
    return lease if {HOST, PID, PID_STARTED, BOOT_ID} <= set(lease) else {}


def escape(value: Any) -> Any:
    """A text without control characters; anything else as it is."""
    return escape_controls(value) if isinstance(value, str) else value


def _accept(read: Callable[[object], object]) -> Check:
    return lambda value: read(value) is not None


def _accept_setting(name: str) -> Check:
    rule = RULES[name]
    if rule.choices:
        return lambda text: text in rule.choices
    read = read_count if isinstance(rule.default, int) else read_number
    return lambda text: (number := read(text)) is not None and rule.low <= number <= rule.high


PARAMS: Mapping[str, Check] = {
    **{name_option(name): _accept_setting(name) for name in RULES if name != "data"},
    **dict.fromkeys(FACTORS, _accept(read_count)),
    SHAPE: is_shape,
    CLASSES: is_number,
}
"""What a param may say of a training that is read back; one that has another cannot be understood."""
TAGS: Mapping[str, Check] = {
    HEARTBEAT: _accept(read_moment),
    **dict.fromkeys((ATTEMPT, EPOCH, PID, TRAIN_IMAGES), _accept(read_count)),
    PID_STARTED: _accept(read_number),
}
"""What a tag may say; one that says something else counts as if it was not there."""

RESULTS: Mapping[str, Check] = {
    **PARAMS,
    **dict.fromkeys(map(str, metrics.FINALS), lambda value: isinstance(value, float | int)),  # it may be infinite
}
accept_start = _accept(read_milliseconds)


def find_bad(found: Mapping[str, object], checks: Mapping[str, Check]) -> list[str]:
    """What is wrong with these values, as `epochs is "inf"`; what is not there is not wrong."""
    return [
        f'{name} is "{escape_controls(str(found[name]))[:SHOWN]}"'
        for name, accepts in checks.items()
        if name in found and found[name] is not None and not accepts(found[name])
    ]
