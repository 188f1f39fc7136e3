"""A disk that is full, read-only or not there: the previous checkpoint stays, and one line names the place."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.training.checkpoint import find_checkpoints, load_newest
from tests.conftest import ROOT, SUBSET, call, make_empty_store, refuse, run_python
from tests.training.test_checkpoint import CONFIG, save_epochs

LEVELS = {"read-only": 0, "database": 60, "checkpoint": 4500, "artifact": 7500}
"""Free KiB on the disk by what then fails first, after the tables are made."""


@pytest.mark.parametrize("step", ["write", "sync"])
def test_a_full_disk_keeps_the_previous_checkpoint_and_is_named(tmp_path: Path, step: str) -> None:
    save_epochs(tmp_path, 1, 2)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        if step == "write":
            (tmp_path / "epoch-00003.unfinished").symlink_to("/dev/full")  # every write to it finds no space
        else:
            patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space left on device") as caught:
            save_epochs(tmp_path, 3, 3)
    assert caught.value.filename == str(tmp_path / "epoch-00003.unfinished")
    assert set(tmp_path.iterdir()) == set(before)  # before any is read: /dev/full has no end
    assert {path: path.read_bytes() for path in before} == before
    found, refused = load_newest(tmp_path, CONFIG)
    assert (found.name, refused) == ("epoch-00002.checkpoint", [])
    save_epochs(tmp_path, 3, 3)  # there is room again
    assert find_checkpoints(tmp_path)[0].name == "epoch-00003.checkpoint"


@pytest.mark.slow
def test_a_training_on_a_full_disk_ends_in_one_line_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        pytest.skip("this machine lets no user mount a small disk")
    command = ["unshare", "-Urm", sys.executable, "-m", "tests.faults.full_disk", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PIPELINE_STORE_PATIENCE": "1"}
    command += map(str, LEVELS.values())
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    cases = dict(zip(LEVELS, map(json.loads, done.stdout.splitlines()), strict=True))
    for name, case in cases.items():
        assert case["code"] in (1, 74), case  # no segmentation fault
        assert "Traceback" not in case["output"], case
        (line,) = [line for line in case["output"].splitlines() if line.startswith("Error: ")]
        if name != "read-only":
            assert "disk is full" in case["output"] or "No space left on device" in line, case
        assert (case["again"], case["db"]) == (0, "ok"), case
        assert "weights sha256" in case["more"], case
    assert "cannot write" in cases["read-only"]["output"]
    assert {name for name, case in cases.items() if case["kept"]} == {"checkpoint", "artifact"}
    assert len({case["more"].split("weights sha256 ")[1] for case in cases.values()}) == 1


def test_a_folder_of_runs_that_is_a_file_is_one_line_before_any_training(empty: Path) -> None:
    (empty / "mlflow.db").write_bytes(make_empty_store())
    (empty / "mlruns").write_text("a file where a folder should be")
    result = call("train", "--data", str(SUBSET))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "mlruns" in result.stderr
    assert "epoch" not in result.stdout.partition("epochs")[2]


def test_a_missing_folder_of_the_store_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'nowhere' / 'mlflow.db'}")
    assert str(tmp_path / "nowhere") in refuse("train", "--data", str(SUBSET))
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_opened_is_one_line(empty: Path) -> None:
    lock = empty / ".mlflow.db.lock"
    if os.geteuid():
        lock.touch(0)
    else:
        lock.mkdir()  # for root every file can be written
    assert str(lock) in refuse("train", "--data", str(SUBSET))


@pytest.mark.slow
def test_a_home_and_temporary_folder_that_cannot_be_written_do_not_matter(tmp_path: Path) -> None:
    names = ("HOME", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    unwritable = {**dict.fromkeys(names, "/proc/nowhere"), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    words = ("-m", "pipeline", "train", "--epochs=1", "--subset=600", f"--data={SUBSET}")
    done = run_python(tmp_path, *words, **unwritable)
    assert done.returncode == 0, done.stderr
    assert "weights sha256" in done.stdout
    assert "Traceback" not in done.stderr
