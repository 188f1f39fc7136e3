from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow.entities import RunTag

from pipeline.cli.store.status import format_age
from pipeline.study.facts import describe_settings
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.tracking.process import identify_process
from pipeline.tracking.store import open_store
from pipeline.tracking.write.journal import locate_journals
from pipeline.tracking.write.recorder import record_run
from tests.conftest import call
from tests.tracking.planted import plant_run


def test_every_experiment_and_every_running_run_is_shown(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store()
    assert call("status").output == (
        "experiment  finished  running  stopped  failed\nDefault     0         0        0        0\n"
    )
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tiny")
    for seed in range(2):
        plant_run(store, "conv2_3x3", seed)
    with contextlib.suppress(KeyboardInterrupt):
        plant_run(store, "conv2_3x3", 2, finished=False)
    settings = Settings(seed=3)
    with record_run(store, find_variant("conv3_3x3"), settings) as recorder:
        new = call("status", "tiny").output.splitlines()[-1]
        recorder.log_params(describe_settings(settings))
        heartbeat = (datetime.now(UTC) - timedelta(hours=2.5)).isoformat()
        recorder.end_epoch(3, {"test/accuracy": 0.98765})
        tags = {"epoch": "3/25", "heartbeat": heartbeat, "host": "here"}
        store.client.log_batch(recorder.run_id, tags=[RunTag(*tag) for tag in tags.items()])
        journal = locate_journals(store) / f"{recorder.run_id}.jsonl"
        journal.parent.mkdir(exist_ok=True)
        journal.touch()
        result = call("status")
        journal.unlink()
        store.client.log_batch(recorder.run_id, tags=[RunTag("host", identify_process()["host"])])
        again = call("status", "tiny").output
        monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes this for a terminal
        monkeypatch.setenv("COLUMNS", "200")
        ruled = call("status", "tiny").output
        monkeypatch.setenv("COLUMNS", "80")
        narrow = call("status", "tiny").output.splitlines()
    assert narrow[-1] == f"{recorder.run_id}  conv3_3x3-s3  3/25   0.9877    alive 2 h"
    assert len(narrow[-1]) <= 80
    pid = str(os.getpid())
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.output == (
        "experiment  finished  running  stopped  failed\n"
        "Default     0         0        0        0\n"
        "tiny        2         1        1        0\n"
        "\n"
        f"{'run':<32}  variant    seed  epoch  accuracy  host  {'pid':<{len(pid)}}  heartbeat  process\n"
        f"{recorder.run_id}  conv3_3x3  3     3/25   0.9877    here  {pid:<3}  2 h        dead\n"
        f"run {recorder.run_id}: not fully delivered to the store; `python -m pipeline sync` delivers it\n"
    )
    assert new.split()[:2] == [recorder.run_id, "conv3_3x3"]
    assert new.endswith("alive")
    assert again.splitlines()[-1].endswith("2 h        alive")
    assert "Default" not in again
    assert f"│ {recorder.run_id} │ conv3_3x3 │" in ruled


@pytest.mark.parametrize(
    ("seconds", "age"),
    [(-5, "0 s"), (0, "0 s"), (40, "40 s"), (119, "1 min"), (7300, "2 h"), (200_000, "2 d")],
)
def test_an_age_is_told_in_its_largest_unit(seconds: int, age: str) -> None:
    assert format_age((datetime.now(UTC) - timedelta(seconds=seconds + 0.2)).isoformat()) == age
