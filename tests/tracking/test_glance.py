from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.tracking import quick
from pipeline.tracking.store import open_store
from pipeline.tracking.write.survey import survey_store
from tests.conftest import execute
from tests.tracking.planted import plant_journal, plant_study


@pytest.fixture
def database(empty: Path) -> Path:
    return empty / "mlflow.db"


def test_a_glance_sees_what_mlflow_sees(database: Path) -> None:
    plant_study(open_store(), "study", ("conv2_3x3", "conv2_3x3_reg"), range(2))
    assert quick.find_file() == database
    survey = survey_store(open_store())
    experiments = quick.read_experiments(database)
    assert [(each.experiment_id, each.name) for each in experiments] == [
        (each.experiment_id, each.name) for each in survey.experiments
    ]
    trainings = quick.read_trainings(database, experiments)
    assert len(trainings) == 6
    assert trainings == [run for run in survey.runs if run.is_training]
    plant_journal(open_store(), "a")
    assert quick.find_journals(quick.open_to_read()) == quick.find_journals(open_store()) == ["a"]


def test_a_store_that_is_not_known_is_left_to_mlflow(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert quick.find_file() is None
    assert not database.exists()
    open_store()
    assert quick.list_names() == ["Default"]
    execute(database, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    assert quick.list_names() is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert quick.list_names() is None
