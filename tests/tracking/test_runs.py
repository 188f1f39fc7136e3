from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from pipeline.errors import StoreError
from pipeline.tracking import mlflow_internals
from pipeline.tracking.columns import RESULTS, type_columns
from pipeline.tracking.process import identify_process
from pipeline.tracking.runs import _search_runs, read_history, read_origins, read_runs
from pipeline.tracking.store import Store, find_experiment, open_store
from tests.conftest import entered
from tests.rig.server import Server
from tests.tracking.planted import SHA256, plant_study

VARIANTS = ("conv2_3x3", "conv2_3x3_reg", "conv3_3x3")


@pytest.fixture
def store(store_uri: str) -> Store:
    return open_store()


@pytest.fixture(scope="module")
def planted(store_folder: Path) -> str:
    """The id of an experiment with 8 training runs."""
    with entered(store_folder):
        return plant_study(open_store(), "planted", VARIANTS, range(2))


def test_every_training_run_is_read_with_its_types_and_no_comparison(store: Store, planted: str) -> None:
    runs = read_runs(store, planted)
    assert len(runs) == 8
    assert set(runs["variant"]) == set(VARIANTS)
    assert sorted(runs["outcome"]) == [*["finished"] * 7, "killed"]
    interrupted = runs[runs["outcome"] == "killed"].iloc[0]
    assert (interrupted["seed"], interrupted["reason"]) == (7, "KeyboardInterrupt")
    assert pd.isna(interrupted["final/test_loss"])
    first = runs[(runs["variant"] == "conv2_3x3_reg") & (runs["seed"] == 1)].iloc[0]
    assert (first["epochs"], first["subset"], first["threads"], first["kernel"]) == (4, 600, 1, 3)
    assert (first["regularised"], first["dropout"], first["batch_norm"]) == (True, True, True)
    assert (first["data_sha256"], first["weights_sha256"]) == (SHA256, f"{1:064}")
    assert first["final/test_accuracy"] == 0.515625
    assert first["started"] <= first["ended"]
    assert set(runs["experiment"]) == {"planted"}


def test_sql_and_mlflows_own_search_agree(store: Store, planted: str) -> None:
    searched = type_columns(_search_runs(store, planted, RESULTS)).assign(experiment="planted", alive=False)
    queried = read_runs(store, planted)
    pd.testing.assert_frame_equal(queried, searched[queried.columns], check_exact=True)


def test_origins_are_what_the_runs_logged_and_none_where_they_did_not(store: Store, planted: str) -> None:
    experiment_id = find_experiment(store, "origins", create=True)
    tags = {"kind": "train", "mlflow.source.git.commit": "abc"}
    runs = [store.client.create_run(experiment_id, tags=tags | more) for more in ({"attempt": "3"}, {})]
    store.client.log_param(runs[1].info.run_id, "data", "auto")
    origins = read_origins(store, experiment_id)
    assert origins.loc[runs[0].info.run_id].to_dict() == {
        "artifact_uri": runs[0].info.artifact_uri,
        "data": None,
        "data_name": None,
        "source_type": None,
        "commit": "abc",
        "repository": None,
        "dirty": None,
        "attempts": "3",
    }
    assert (origins.loc[runs[1].info.run_id, ["data", "attempts"]]).tolist() == ["auto", None]


def test_a_history_holds_the_asked_metrics_of_the_asked_runs(store: Store, planted: str) -> None:
    run_ids = list(read_runs(store, planted)["run_id"][:2])
    history = read_history(store, run_ids, ["train/loss", "honest/test_loss"])
    assert set(history["run_id"]) == set(run_ids)
    assert set(history["metric"]) == {"train/loss", "honest/test_loss"}
    first = history[(history["run_id"] == run_ids[0]) & (history["metric"] == "train/loss")]
    assert first["epoch"].tolist()[:4] == [1, 2, 3, 4]
    assert first["value"].tolist()[:4] == [1.0, 1 / 2, 1 / 3, 1 / 4]


def test_a_history_is_looked_up_by_run_and_not_by_reading_the_whole_store(
    store: Store, planted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    connection = mlflow_internals._connect(store.database)
    connection.set_trace_callback(said.append)
    run_ids = list(read_runs(store, planted)["run_id"])
    monkeypatch.setattr(mlflow_internals, "_connect", lambda _: connection)
    read_history(store, run_ids)
    statement = said[-1]
    with closing(sqlite3.connect(store.database or "")) as other:
        plan = other.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
    assert "FROM metrics" in statement
    assert "(run_uuid=?)" in plan[0][3]


def test_a_run_that_failed_before_its_params_is_read_with_unknown_settings(store: Store) -> None:
    experiment_id = find_experiment(store, "early", create=True)
    client = MlflowClient()
    run_id = client.create_run(experiment_id, tags={"kind": "train", "variant": "conv2_3x3"}).info.run_id
    deleted = client.create_run(experiment_id, tags={"kind": "train"}).info.run_id
    client.delete_run(deleted)
    runs = read_runs(store, experiment_id)
    assert runs["run_id"].tolist() == [run_id]
    assert runs.loc[0, ["variant", "seed", "epochs", "status"]].tolist() == ["conv2_3x3", -1, -1, "RUNNING"]
    assert pd.isna(runs["ended"][0])
    searched = type_columns(_search_runs(store, experiment_id, RESULTS)).assign(experiment="early", alive=False)
    pd.testing.assert_frame_equal(runs, searched[runs.columns], check_exact=True)


def test_a_run_is_alive_as_long_as_its_process(store: Store) -> None:
    experiment_id = find_experiment(store, "alive", create=True)
    for pid in (os.getpid(), 2**22):
        tags = {"kind": "train", "outcome": "running", **identify_process(), "pid": str(pid)}
        MlflowClient().create_run(experiment_id, run_name=str(pid), tags=tags)
    runs = read_runs(store, experiment_id).set_index("run_name")
    assert runs["alive"].to_dict() == {str(os.getpid()): True, str(2**22): False}


def test_an_empty_experiment_has_no_rows_and_all_columns(store: Store, planted: str) -> None:
    empty = read_runs(store, find_experiment(store, "empty", create=True))
    assert len(empty) == 0
    assert list(empty.columns) == list(read_runs(store, planted).columns)


@pytest.fixture
def server(store_uri: str, tmp_path: Path) -> Iterator[str]:
    """The address of a real `mlflow server` on the shared store."""
    server = Server(store_uri, tmp_path)
    yield server.uri
    server.kill()


@pytest.mark.slow
def test_through_a_server_the_answer_is_the_same(
    store: Store, planted: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = read_runs(store, planted)
    points = read_history(store, list(local["run_id"]))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    remote = open_store()
    assert remote.database is None
    pd.testing.assert_frame_equal(local, read_runs(remote, planted), check_exact=True)
    pd.testing.assert_frame_equal(read_origins(store, planted), read_origins(remote, planted), check_exact=True)
    order = ["run_id", "metric", "epoch"]
    through_server = read_history(remote, list(local["run_id"])).sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(points.sort_values(order, ignore_index=True), through_server, check_exact=True)


def test_a_store_that_went_away_is_one_line(store: Store, planted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    gone = Store(uri="http://127.0.0.1:9", client=MlflowClient("http://127.0.0.1:9"), lock=store.lock)
    for read in (read_runs, read_origins):
        with pytest.raises(StoreError, match="the tracking store did not answer") as caught:
            read(gone, planted)
        assert "\n" not in str(caught.value)
