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
from pipeline.tracking.write.recorder import record_run
from tests.conftest import call
from tests.tracking.planted import plant_journal, plant_run


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
    stopped = store.client.search_runs([store.client.get_experiment_by_name("tiny").experiment_id])[0].info.run_id
    settings = Settings(seed=3)
    with record_run(store, find_variant("conv3_3x3"), settings) as recorder:
        new = call("status", "tiny").output.splitlines()[4]
        recorder.log_params(describe_settings(settings))
        heartbeat = (datetime.now(UTC) - timedelta(hours=2.5)).isoformat()
        recorder.end_epoch(3, {"test/accuracy": 0.98765})
        tags = {"epoch": "3/25", "heartbeat": heartbeat, "host": "here"}
        store.client.log_batch(recorder.run_id, tags=[RunTag(*tag) for tag in tags.items()])
        journal = plant_journal(store, recorder.run_id)
        result = call("status")
        journal.unlink()
        store.client.log_batch(recorder.run_id, tags=[RunTag("host", identify_process()["host"])])
        again = call("status", "tiny").output
        monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes this for a terminal
        monkeypatch.setenv("COLUMNS", "200")
        ruled = call("status", "tiny").output
        monkeypatch.setenv("COLUMNS", "80")
        narrow = call("status", "tiny").output.splitlines()
    assert narrow[-4] == f"{recorder.run_id}  conv3_3x3-s3  3/25   98.77 %   alive 2 h"
    assert len(narrow[-4]) <= 80
    pid = str(os.getpid())
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.output == (
        "experiment  finished  running  stopped  failed\n"
        "Default     0         0        0        0\n"
        "tiny        2         1        1        0\n"
        "\n"
        f"{'run':<32}  variant    seed  epoch  accuracy  host  {'pid':<{len(pid)}}  heartbeat  process\n"
        f"{recorder.run_id}  conv3_3x3  3     3/25   98.77 %   here  {pid:<3}  2 h        dead\n"
        "\n"
        "conv3_3x3-s3 died after epoch 3 of 25. Continue:\n"
        f"  python -m pipeline train --resume {recorder.run_id}\n"
        "conv2_3x3-s2 stopped after epoch 4 of 4. Continue:\n"
        f"  python -m pipeline train --resume {stopped}\n"
        f"run {recorder.run_id}: not fully delivered to the store; `python -m pipeline sync` delivers it\n"
    )
    assert new.split()[:2] == [recorder.run_id, "conv3_3x3"]
    assert new.endswith("alive")
    assert again.splitlines()[4].endswith("2 h        alive")
    assert "Default" not in again
    assert f"│ {recorder.run_id} │ conv3_3x3 │" in ruled


def test_what_broke_off_is_named_until_its_cell_has_a_run_again(empty: Path) -> None:
    store = open_store()
    with contextlib.suppress(KeyboardInterrupt):
        plant_run(store, "conv2_3x3", 0, finished=False)
    with contextlib.suppress(ValueError), record_run(store, find_variant("conv3_3x3"), Settings(seed=1)):
        raise ValueError("the data are damaged")
    broken = call("status").output.splitlines()[3:]
    assert broken[0] == "conv3_3x3 failed before the end of its first epoch: ValueError: the data are damaged"
    assert broken[1] == "conv2_3x3-s0 stopped after epoch 4 of 4. Continue:"
    plant_run(store, "conv2_3x3", 0)
    assert call("status").output.splitlines()[3:] == broken[:1]
    stopped = plant_run(store, "conv2_3x3", 1)  # with other settings than the one that finishes later
    change = {"outcome": "killed", "fingerprint": "a" * 64}
    store.client.log_batch(stopped, tags=[RunTag(*tag) for tag in change.items()])
    other = plant_run(store, "conv2_3x3", 1)
    store.client.set_tag(other, "fingerprint", "b" * 64)
    assert f"  python -m pipeline train --resume {stopped}" in call("status").output
    store.client.set_tag(other, "fingerprint", "a" * 64)
    assert call("status").output.splitlines()[3:] == broken[:1]
    for seed in range(6):
        with contextlib.suppress(KeyboardInterrupt):
            plant_run(store, "conv2_5x5", seed, finished=False)
    lines = call("status").output.splitlines()
    assert lines[3] == "conv2_5x5-s5 stopped after epoch 4 of 4. Continue:"
    assert lines[-1] == "and 2 more that broke off; `python -m pipeline sweep` continues an experiment's"


@pytest.mark.parametrize(
    ("seconds", "age"),
    [(-5, "0 s"), (0, "0 s"), (40, "40 s"), (119, "1 min"), (7300, "2 h"), (200_000, "2 d")],
)
def test_an_age_is_told_in_its_largest_unit(seconds: int, age: str) -> None:
    assert format_age((datetime.now(UTC) - timedelta(seconds=seconds + 0.2)).isoformat()) == age
