"""The table of metrics: what derives from a row, shown by a row that is added to a copy of the project."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest

from pipeline.study.metrics import (
    BY_EPOCH,
    EPOCH_SECONDS,
    FINALS,
    HONEST_TEST_LOSS,
    TEST_ACCURACY,
    TRAIN_SECONDS,
    Metric,
    format_value,
)
from pipeline.workflows.replay import COMPARED
from tests.conftest import SUBSET, run_python

ROW = """TEST_ERRORS = Metric("test/errors", "wrong test images", "images", better="lower", column="errors", later=True)

BY_EPOCH ="""
VALUE = "metrics.TEST_ERRORS: float(round((1 - test.accuracy) * len(test.predictions.predicted))),\n        "
RUN = ("train", "--arch", "conv2_3x3", "--epochs", "1", "--threads", "1", "--data", str(SUBSET))


def run(folder: Path, *words: str) -> str:
    """What a command of the copy prints, with its errors; it must succeed."""
    done = run_python(
        folder, "-m", "pipeline", *words, PYTHONPATH=str(folder), MLFLOW_TRACKING_URI=f"sqlite:///{folder}/mlflow.db"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_metric_is_one_row(project: Path) -> None:
    run(project, *RUN, "--seed", "0")
    before = json.loads(run(project, "compare", "--truth", "--format", "json").partition("\nTable sha256")[0])
    for path, old, new in (
        ("study/metrics.py", "\nBY_EPOCH =", ROW),
        ("training/run.py", "metrics.GAP_NOTEBOOK:", f"{VALUE}metrics.GAP_NOTEBOOK:"),
    ):
        text = (project / "pipeline" / path).read_text()
        assert text.count(old) == 1
        (project / "pipeline" / path).write_text(text.replace(old, new))
    replayed = run(project, "replay", "Default")
    assert "REPEATED bit for bit: conv2_3x3, seed 0" in replayed
    assert f"{len(COMPARED)} metrics of 1 epoch" in replayed
    assert "Not compared, as the run did not log it: test/errors" in replayed
    same = json.loads(run(project, "compare", "--truth", "--format", "json").partition("\nTable sha256")[0])
    assert same == before  # runs without it read as before
    run(project, *RUN, "--seed", "1")
    after = json.loads(run(project, "compare", "--truth", "--format", "json").partition("\nTable sha256")[0])
    value = after["rows"][0]["entries"]["errors"]["value"]
    assert value == after["runs"][0]["final/test_errors"] == round((1 - after["runs"][0]["final/test_accuracy"]) * 500)
    run(project, "report", "--output", "report.html")
    page = (project / "report.html").read_text()
    assert "wrong test images (images); lower is better" in page
    assert f'data-value="{value}"' in page


def test_every_metric_has_a_name_a_label_a_unit_and_a_final() -> None:
    assert len({*BY_EPOCH, *FINALS}) == len(BY_EPOCH) + len(FINALS)
    assert tuple(metric.final for metric in BY_EPOCH if metric != TRAIN_SECONDS) == FINALS
    assert (HONEST_TEST_LOSS.final, TEST_ACCURACY.final) == ("final/honest_test_loss", "final/test_accuracy")
    assert EPOCH_SECONDS.final.title == "time per epoch (s)"
    assert (TEST_ACCURACY.better, HONEST_TEST_LOSS.final.better) == ("higher", "lower")


def test_a_row_knows_no_other_columns() -> None:
    with pytest.raises(TypeError, match="a metric has no colum; choose one of better, column, reported"):
        Metric("test/errors", "wrong test images", colum="errors")


def test_a_copy_of_a_metric_is_its_name() -> None:
    for copied in (copy.deepcopy(TEST_ACCURACY), pickle.loads(pickle.dumps(TEST_ACCURACY))):
        assert (type(copied), copied) == (str, "test/accuracy")


def test_a_value_is_written_as_people_read_it() -> None:
    written = [format_value(name, 0.98765) for name in ("test/accuracy", "final/test_loss", "gap/honest")]
    assert written == ["98.77 %", "0.9877", "+0.9877"]
    assert [format_value("test/loss", value) for value in (None, float("nan"))] == ["-", "-"]
