"""Runs in a bundle and back: real stores, a real training, and imports that are killed at every point."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.entities import ViewType

from pipeline.analysis.comparison import Question, compare_runs
from pipeline.errors import StoreError
from pipeline.tracking.files.artifacts import check_artifacts
from pipeline.tracking.files.model import load_network
from pipeline.tracking.frozen import FROZEN, FROZEN_AT
from pipeline.tracking.process import hold_lease
from pipeline.tracking.runs import read_history, read_runs
from pipeline.tracking.store import Store, find_experiment, open_store
from tests.cli.test_resume import read_histories
from tests.conftest import run_python, slow
from tests.rig.server import Server
from tests.tracking.carried import export, open_in, take
from tests.tracking.planted import plant_run, plant_study

FROZEN_TAGS = {FROZEN: '{"gap": "1"}', FROZEN_AT: "2026-01-02T03:04:05+00:00"}


@pytest.fixture
def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A fresh store in a folder of its own."""
    return open_in(tmp_path / "laptop", monkeypatch)


@pytest.fixture(scope="module")
def cluster(store_folder: Path, trained: tuple[str, str]) -> Iterator[Store]:
    """The store of the real training, and of planted ones in the experiment `carried`."""
    with pytest.MonkeyPatch.context() as patch:
        store = open_in(store_folder, patch)
        experiment_id = plant_study(store, "carried", ("conv2_3x3", "conv2_3x3_reg"), range(2))
        for key, value in FROZEN_TAGS.items():
            store.client.set_experiment_tag(experiment_id, key, value)
        store.client.set_experiment_tag(experiment_id, "lease.cell.1", "{}")
        place = store.client.get_run(trained[0]).info.experiment_id
        others = [run.info.run_id for run in store.client.search_runs([place]) if run.info.run_id != trained[0]]
        for run_id in others:  # other tests trained the same cell again, which an import takes once
            store.client.delete_run(run_id)
        yield store
        for run_id in others:
            store.client.restore_run(run_id)


def count_runs(store: Store, name: str) -> int:
    return len(store.client.search_runs([find_experiment(store, name)]))


def test_a_training_comes_back_with_all_it_had(cluster: Store, laptop: Store, trained: tuple[str, str]) -> None:
    first, again = Path("first.zip"), Path("again.zip")
    export(cluster, "Default", first)
    new_id = next(run_id for run, run_id, new in take(laptop, first) if run.run_id == trained[0] and new)
    check_artifacts(laptop, new_id)
    old, new = cluster.client.get_run(trained[0]), laptop.client.get_run(new_id)
    assert new.data.tags == {**old.data.tags, "bundle.source_run_id": trained[0]}
    assert (new.data.params, new.data.metrics) == (old.data.params, old.data.metrics)
    read_facts = attrgetter("run_name", "status", "start_time", "end_time", "user_id")
    assert read_facts(new.info) == read_facts(old.info)
    assert read_histories(laptop.client, new_id) == read_histories(cluster.client, old.info.run_id)
    assert new.inputs.to_dictionary() == old.inputs.to_dictionary()
    network = load_network(new_id)
    with np.load(laptop.client.download_artifacts(new_id, "predictions.npz")) as logged:
        assert len(logged["predicted"]) == 500
    assert network.count_params() == int(new.data.params["parameters"])
    mlflow.keras.load_model(f"runs:/{new_id}/model")
    export(laptop, "Default", again)
    assert again.read_bytes() == first.read_bytes(), "the round trip changes no byte"


def test_the_same_runs_give_the_same_bytes_and_come_once(cluster: Store, laptop: Store) -> None:
    first, again = Path("first.zip"), Path("again.zip")
    manifest = export(cluster, "carried", first)
    assert export(cluster, "carried", again) == manifest
    assert first.read_bytes() == again.read_bytes()
    assert not any(key.startswith("lease.") for key in manifest.tags)
    assert len(manifest.runs) == 5
    arrived = take(laptop, first)
    assert [new for *_, new in arrived] == [True] * 5
    assert take(laptop, first) == [(run, run_id, False) for run, run_id, _ in arrived]
    assert count_runs(laptop, "carried") == 5
    experiment = laptop.client.get_experiment_by_name("carried")
    assert FROZEN_TAGS.items() <= experiment.tags.items()
    assert not any(key.startswith("lease.") for key in experiment.tags)
    again.unlink()
    export(laptop, "carried", again)
    assert first.read_bytes() == again.read_bytes()


def test_all_takes_what_was_killed_too(cluster: Store, laptop: Store) -> None:
    export(cluster, "carried", Path("all.zip"), every=True)
    outcomes = [run.tags["outcome"] for run, *_ in take(laptop, Path("all.zip"))]
    assert sorted(outcomes) == [*["finished"] * 5, "killed"]
    assert [new for *_, new in take(laptop, Path("all.zip"))] == [False] * 6


def test_the_comparison_is_the_same(cluster: Store, laptop: Store) -> None:
    export(cluster, "carried", Path("carried.zip"))
    origins = {run_id: run.run_id for run, run_id, _ in take(laptop, Path("carried.zip"))}
    question = Question(rule="all-seeds", asked={"epochs": 4}, show=frozenset())
    runs = read_runs(cluster, find_experiment(cluster, "carried"))
    runs = runs[runs["outcome"] == "finished"].reset_index(drop=True)
    here = compare_runs(runs, lambda ids: read_history(cluster, ids), question)
    taken = read_runs(laptop, find_experiment(laptop, "carried"))
    ids = {origin: run_id for run_id, origin in origins.items()}

    def read_renamed(run_ids: list[str]) -> object:
        return read_history(laptop, [ids[each] for each in run_ids]).replace({"run_id": origins})

    there = compare_runs(taken.replace({"run_id": origins}), read_renamed, question)
    assert there.conclusion.sha256 == here.conclusion.sha256


def test_a_cell_that_has_finished_here_is_not_taken_again(cluster: Store, laptop: Store) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "carried")
        find_experiment(laptop, "carried", create=True)
        own, other = (plant_run(laptop, "conv2_3x3", seed) for seed in (0, 1))
        theirs = [plant_run(cluster, "conv3_3x3", seed) for seed in (0, 1)]
    for store, pair in ((laptop, (own, other)), (cluster, theirs)):
        for run_id, weights in zip(pair, ("a" * 64, ("b" if store is laptop else "c") * 64), strict=True):
            store.client.set_tag(run_id, "fingerprint", "f" * 64)
            store.client.set_tag(run_id, "weights.sha256", weights)
    try:
        export(cluster, "carried", Path("carried.zip"))
        arrived = {run.run_id: (run_id, new) for run, run_id, new in take(laptop, Path("carried.zip"))}
    finally:
        for run_id in theirs:
            cluster.client.delete_run(run_id)
    assert arrived[theirs[0]] == (own, False)
    assert arrived[theirs[1]][1] is True, "other weights are evidence"


def test_a_bundle_comes_home_without_duplicates(cluster: Store) -> None:
    export(cluster, "carried", Path("home.zip"))
    assert [new for *_, new in take(cluster, Path("home.zip"))] == [False] * 5


def test_other_frozen_claims_are_refused(cluster: Store, laptop: Store) -> None:
    export(cluster, "carried", Path("carried.zip"))
    experiment_id = find_experiment(laptop, "carried", create=True)
    laptop.client.set_experiment_tag(experiment_id, FROZEN, '{"gap": "2"}')
    with pytest.raises(StoreError, match='"carried" has frozen other claims than the bundle; import it into one of'):
        take(laptop, Path("carried.zip"))
    assert count_runs(laptop, "carried") == 0
    laptop.client.set_experiment_tag(experiment_id, FROZEN, '{"gap":"1"}')
    laptop.client.set_experiment_tag(experiment_id, FROZEN_AT, "2026-02-01T00:00:00+00:00")
    take(laptop, Path("carried.zip"))
    assert laptop.client.get_experiment(experiment_id).tags[FROZEN_AT] == FROZEN_TAGS[FROZEN_AT]
    assert len(take(laptop, Path("carried.zip"), "elsewhere")) == count_runs(laptop, "elsewhere") == 5


def test_two_imports_at_once_are_refused(cluster: Store, laptop: Store) -> None:
    export(cluster, "carried", Path("carried.zip"))
    experiment_id = find_experiment(laptop, "carried", create=True)
    with (
        hold_lease(laptop, experiment_id, "bundle"),
        pytest.raises(StoreError, match='another process imports into "carried" at this moment'),
    ):
        take(laptop, Path("carried.zip"))


def test_a_model_that_lost_its_files_is_told(cluster: Store, trained: tuple[str, str], tmp_path: Path) -> None:
    run = cluster.client.get_run(trained[0])
    model = cluster.client.create_logged_model(run.info.experiment_id, "model", trained[0])
    cluster.client.finalize_logged_model(model.model_id, "READY")
    try:
        with pytest.raises(StoreError, match=f"the model of run {trained[0]} has no files; "):
            export(cluster, "Default", tmp_path / "x.zip")
    finally:
        cluster.client.delete_logged_model(model.model_id)


KILLED = """
import sys
from pathlib import Path
from pipeline.tracking.bundle.archive import open_bundle
from pipeline.tracking.store import open_store
from pipeline.tracking.bundle.import_runs import import_bundle
with open_bundle(Path(sys.argv[1])) as reader:
    print(sum(new for *_, new in import_bundle(open_store(), reader)))
"""


@pytest.mark.parametrize("point", ["import-model", *slow("import-terminated", "import-tagged")])
def test_a_killed_import_started_again_leaves_no_duplicate(
    cluster: Store, laptop: Store, trained: tuple[str, str], point: str
) -> None:
    manifest = export(cluster, "Default", Path("first.zip"))
    killed = run_python(Path(), "-c", KILLED, "first.zip", FAULT=f"{point}:1:kill")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (half,) = laptop.client.search_runs([find_experiment(laptop, "Default")])
    assert half.data.tags["kind"] == "import", "what is half there is not a training yet"
    assert len(take(laptop, Path("first.zip"))) == len(manifest.runs) == count_runs(laptop, "Default")
    deleted = laptop.client.search_runs([find_experiment(laptop, "Default")], run_view_type=ViewType.DELETED_ONLY)
    assert [run.info.run_id for run in deleted] == [half.info.run_id]
    models = laptop.client.search_logged_models([find_experiment(laptop, "Default")])
    assert len(models) == sum(len(run.models) for run in manifest.runs)
    export(laptop, "Default", Path("again.zip"))
    assert Path("again.zip").read_bytes() == Path("first.zip").read_bytes()


@pytest.mark.slow
def test_a_server_takes_and_gives_the_same(
    cluster: Store, tmp_path: Path, trained: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, again = tmp_path / "first.zip", tmp_path / "again.zip"
    export(cluster, "Default", first)
    server = Server(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    try:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        store = open_store()
        arrived = {run.run_id: (run_id, new) for run, run_id, new in take(store, first)}
        run_id, new = arrived[trained[0]]
        assert new
        assert store.client.get_run(run_id).info.artifact_uri.startswith("mlflow-artifacts:")
        check_artifacts(store, run_id)
        load_network(run_id)
        export(store, "Default", again)
    finally:
        server.kill()
    assert again.read_bytes() == first.read_bytes()
