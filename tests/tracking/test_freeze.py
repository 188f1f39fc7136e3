from __future__ import annotations

import pandas as pd
import pytest

from pipeline.tracking.frozen import judge_freezing

FIRST = pd.Timestamp("2026-01-01T12:00:30+00:00")


@pytest.mark.parametrize(
    ("frozen_at", "standing"),
    [
        ("", "never"),
        ("2026-01-01T11:00:00+00:00", ""),
        ("2026-01-01T12:00:31+00:00", ""),  # by the start of the first run itself
        ("2026-01-01T12:01:00+00:00", "late"),
    ],
)
def test_claims_stand_as_they_were_frozen(frozen_at: str, standing: str) -> None:
    assert judge_freezing(frozen_at, [pd.NaT, FIRST, FIRST + pd.Timedelta(hours=1)]) == standing
    assert judge_freezing("2026-01-01T12:01:00+00:00", []) == ""
