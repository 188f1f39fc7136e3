from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from pipeline.tracking import frozen
from pipeline.tracking.frozen import freeze_declared, judge_freezing, read_frozen
from pipeline.tracking.store import find_experiment, open_store
from tests.conftest import ROOT

FIRST = pd.Timestamp("2026-01-01T12:00:30+00:00")
HOUR = pd.Timedelta(hours=1)


def list_runs(*moments: tuple[object, object]) -> pd.DataFrame:
    frame = pd.DataFrame(moments, columns=["started", "ended"])
    return frame.apply(pd.to_datetime, utc=True)


@pytest.mark.parametrize(
    ("frozen_at", "standing"),
    [
        ("", "never"),
        ("2026-01-01T11:00:00+00:00", ""),
        ("2026-01-01T12:00:31+00:00", ""),  # by a run that started together with the first
        ("2026-01-01T12:01:00+00:00", "late"),
    ],
)
def test_claims_stand_as_they_were_frozen(frozen_at: str, standing: str) -> None:
    runs = list_runs((pd.NaT, pd.NaT), (FIRST, FIRST + HOUR), (FIRST + HOUR, pd.NaT))
    assert judge_freezing(frozen_at, runs) == standing
    assert judge_freezing("2026-01-01T12:01:00+00:00", list_runs()) == ""


def test_a_run_that_had_ended_makes_it_late_however_short_it_was() -> None:
    ended = list_runs((FIRST, FIRST + pd.Timedelta(seconds=2)))
    assert judge_freezing("2026-01-01T12:00:31+00:00", ended) == ""
    assert judge_freezing("2026-01-01T12:00:33+00:00", ended) == "late"


@pytest.mark.parametrize(
    ("name", "seen", "standing"),
    [("launched", "", ""), ("watched", "its own", "late"), ("overtaken", "another's", "late")],
)
def test_a_run_that_a_launcher_made_long_ago_is_late_only_where_a_result_was_seen(
    store_uri: str, name: str, seen: str, standing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "experiments").mkdir()
    shutil.copy(ROOT / "experiments" / "smoke.toml", tmp_path / "experiments" / f"{name}.toml")
    monkeypatch.setattr(frozen, "project_root", lambda: tmp_path)
    store = open_store()
    experiment_id = find_experiment(store, name, create=True)
    start = datetime.now(UTC) - timedelta(minutes=5)  # the launcher made an environment in between
    result = start + timedelta(minutes=1)
    run_id = store.client.create_run(experiment_id, start_time=_stamp(start)).info.run_id
    ended: object = pd.NaT
    if seen == "its own":
        store.client.log_metric(run_id, "loss", 1.0, _stamp(result), step=1)
    if seen == "another's":
        other = store.client.create_run(experiment_id, start_time=_stamp(start)).info.run_id
        store.client.set_terminated(other, end_time=_stamp(result))
        ended = result
    freeze_declared(store, run_id)
    assert judge_freezing(read_frozen(store, experiment_id)[1], list_runs((start, ended))) == standing


def _stamp(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
