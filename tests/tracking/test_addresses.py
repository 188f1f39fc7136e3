"""A project folder that is moved, with a real model in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import pytest

from pipeline.errors import StoreError
from pipeline.tracking.files.artifacts import check_artifacts, find_moved, fix_moved
from pipeline.tracking.files.model import load_network
from pipeline.tracking.store import find_experiment, open_store
from tests.tracking.carried import export, open_in, take


def test_artifacts_of_a_moved_folder_are_found_again(
    store_uri: str, trained: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = open_store()
    export(cluster, "Default", tmp_path / "first.zip")
    former, moved = tmp_path / "former", tmp_path / "a new # place"
    laptop = open_in(former, monkeypatch)
    run_id = next(
        run_id for run, run_id, _ in take(laptop, tmp_path / "first.zip", "moving") if run.run_id == trained[0]
    )
    (model,) = laptop.client.search_logged_models([find_experiment(laptop, "moving")], f"source_run_id = '{run_id}'")
    laptop.client.create_registered_model("digits")
    laptop.client.create_model_version("digits", model.model_uri, run_id, model_id=model.model_id)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(former, moved)
    store = open_in(moved, monkeypatch)
    assert find_moved(store) == [], "the former folder is still there"
    shutil.rmtree(former)
    with pytest.raises(StoreError, match="cannot be loaded"):
        load_network(run_id)
    [(folder, count)] = find_moved(store)
    assert folder == former
    assert fix_moved(store) == count
    assert find_moved(store) == []
    assert fix_moved(store) == 0
    load_network(run_id)
    mlflow.keras.load_model("models:/digits/1")
    check_artifacts(store, run_id)
    assert store.client.get_experiment_by_name("moving").artifact_location.startswith(f"{moved}/mlruns/")
    assert not former.exists(), "nothing was written to the former place"


def test_a_former_folder_that_a_run_has_made_anew_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, moved = tmp_path / "former", tmp_path / "moved"
    store = open_in(former, monkeypatch)
    first, second = (store.client.create_run("0").info for _ in range(2))
    for info in (first, second):
        store.client.log_text(info.run_id, "text", "note.txt")
    monkeypatch.chdir(tmp_path)
    former.rename(moved)
    store = open_in(moved, monkeypatch)
    store.client.log_text(second.run_id, "other text", "note.txt")
    assert former.exists()
    assert fix_moved(store) == 1
    uris = [store.client.get_run(info.run_id).info.artifact_uri for info in (first, second)]
    assert uris == [first.artifact_uri.replace(str(former), str(moved)), second.artifact_uri]
    assert mlflow.artifacts.load_text(f"{uris[0]}/note.txt") == "text"
