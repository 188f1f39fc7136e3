from __future__ import annotations

import pytest

from pipeline.errors import ExperimentError
from pipeline.plain import format_duration, parse_duration


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5d", 129600)])
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["2", "h", "-1h", "0s", "nanh", "infd", "2 hours"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ExperimentError, match="is not a duration"):
        parse_duration(text)


def test_durations_are_said_as_people_say_them() -> None:
    assert [format_duration(seconds) for seconds in (45, 720, 12_240)] == ["45 s", "12 min", "3.4 h"]
