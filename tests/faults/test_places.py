"""Stores in folders of any name, at addresses with anything in them, and addresses that start at the current folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.tracking.files.artifacts import find_damage
from pipeline.tracking.files.model import verify_run
from pipeline.tracking.store import open_store
from pipeline.tracking.tracking_uri import name_database
from pipeline.tracking.write.recorder import record_run
from pipeline.tracking.write.survey import survey_store
from tests.conftest import PROJECT_FILES, ROOT, SUBSET, call, run_python, slow, start_program, write_study

FOLDER = "jörg's run#2, 50%off 50%20off?"
SHORT = ("--subset=600", "--epochs=1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the project in a folder whose name means something in an address."""
    place = tmp_path / FOLDER
    place.mkdir()
    for name in PROJECT_FILES:
        shutil.copy(ROOT / name, place)
    shutil.copytree(ROOT / "pipeline", place / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SUBSET, place / "subset.npz")
    return place


@pytest.mark.parametrize("launched", [False, *slow(True)])
def test_a_folder_of_any_name_can_be_trained_in(folder: Path, monkeypatch: pytest.MonkeyPatch, launched: bool) -> None:
    if launched:
        options = [word for name in ("data=subset.npz", "epochs=1", "subset=600") for word in ("-P", name)]
        process = start_program(folder, "mlflow", "run", ".", "--env-manager", "local", *options)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
    for made_by_the_launcher in set(folder.parent.iterdir()) - {folder}:  # MLflow's own, as of 3.17
        made_by_the_launcher.rmdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", name_database(folder / "mlflow.db"))
    assert call("train", f"--data={SUBSET}", "--seed=1", *SHORT).exit_code == 0
    survey = survey_store(open_store())
    assert {run.state for run in survey.runs} == {"finished"}
    assert len(survey.runs) == 1 + launched
    assert find_damage(survey.store, survey.runs) == {}
    for run in survey.runs:
        verify_run(run.run_id, Settings(data=str(SUBSET), subset=600))
        assert list(folder.glob(f"mlruns/0/{run.run_id}/artifacts/predictions.npz"))
    assert call("doctor").exit_code == 0
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # MLflow made no "what%3F" beside it


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("sqlite:///mine.db", "mine.db"),
        ("sqlite:///mine.db?timeout=60", "mine.db"),
        ("sqlite:///my%20store.db", "my store.db"),
        ("sqlite:///50%off.db", "50%off.db"),
        ("sqlite+pysqlite:///mine.db", "mine.db"),
    ],
)
def test_an_address_is_absolute_from_the_door_on(
    empty: Path, monkeypatch: pytest.MonkeyPatch, uri: str, name: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with record_run(open_store(), find_variant("conv2_3x3"), Settings()) as recorder:
        pass
    assert open_store().database == empty / name
    monkeypatch.chdir(ROOT)  # as the processes of a sweep do
    assert open_store().database == empty / name
    assert MlflowClient().get_run(recorder.run_id).info.status == "FINISHED"
    assert {path.name for path in empty.glob("*.db")} == {name}


@pytest.mark.slow
def test_a_sweep_from_another_folder_writes_to_the_store_that_was_named(empty: Path) -> None:
    write_study(empty / "tiny.toml", epochs=1)
    words = ("-m", "pipeline", "sweep", "tiny.toml", "--workers=1")
    done = run_python(empty, *words, MLFLOW_TRACKING_URI="sqlite:///mine.db")
    assert done.returncode == 0, done.stderr
    assert not (ROOT / "mine.db").exists()
    client = MlflowClient(f"sqlite:///{empty / 'mine.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert run.data.tags["outcome"] == "finished"
