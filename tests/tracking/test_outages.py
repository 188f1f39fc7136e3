"""A store that goes away in the middle of a run: a server killed, a database crashed, a network that loses answers."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from mlflow.entities import Run, ViewType
from mlflow.tracking import MlflowClient

from pipeline.errors import StoreError, StoreUnreachable
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.tracking.store import open_store
from pipeline.tracking.write.recorder import Recorder, record_run
from pipeline.workflows.train import _ViolinImages
from tests.conftest import run_python
from tests.rig.postgres import PostgreSQL
from tests.rig.proxy import Proxy
from tests.rig.server import Server

pytest_plugins = ("tests.rig.fixtures",)
pytestmark = pytest.mark.slow  # they start a PostgreSQL and a server

EPOCHS = 6
IMAGED = (2, 5)
KERNELS = dict.fromkeys(("conv1", "conv2"), np.linspace(-1, 1, 20, dtype=np.float32))
Points = dict[str, list[tuple[int, int, float]]]
Disturb = Mapping[int, Callable[[], object]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's journals lie; every test has an experiment of its own."""
    for room in ("quick", "store", "write.resume"):
        monkeypatch.setattr(f"pipeline.tracking.{room}.project_root", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "set by record_epochs")  # so that it is put back
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", f"outage-{uuid.uuid4().hex}")
    monkeypatch.setenv("PIPELINE_STORE_PATIENCE", "60")
    monkeypatch.setattr("pipeline.tracking.write.journal.PAUSE_SECONDS", 0.2)
    for name in ("FACTOR", "JITTER"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_BACKOFF_{name}", "0")
    return tmp_path


def measure(epoch: int) -> dict[str, float]:
    return {"train/loss": 1 / epoch, "test/loss": 1 / epoch + 0.1, "time/epoch_seconds": epoch / 7}


def record_epochs(uri: str, disturb: Disturb, images: bool = False) -> Recorder:
    """Record a training of EPOCHS epochs; disturb[n] is called just before epoch n is recorded, 0 before the first."""
    os.environ["MLFLOW_TRACKING_URI"] = uri
    with record_run(open_store(), find_variant("conv2_3x3"), Settings(epochs=EPOCHS)) as recorder:
        disturb.get(0, lambda: None)()
        recorder.begin_training("a summary", {"threads": 1})
        for epoch in range(1, EPOCHS + 1):
            disturb.get(epoch, lambda: None)()
            recorder.end_epoch(epoch, measure(epoch), 1000 * epoch)
            if images and epoch in IMAGED:
                _ViolinImages(recorder, "conv2_3x3-s0").show_kernels(epoch, KERNELS)
    return recorder


def read_only_run(uri: str, status: str = "FINISHED") -> tuple[MlflowClient, Run]:
    """The one run of the test's experiment, which has ended so."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"])
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == status
    return client, run


def read_points(client: MlflowClient, run: Run) -> Points:
    return {
        name: sorted((point.step, point.timestamp, point.value) for point in client.get_metric_history(run_id, name))
        for run_id in [run.info.run_id]
        for name in run.data.metrics
    }


EXPECTED: Points = {
    name: [(epoch, 1000 * epoch, measure(epoch)[name]) for epoch in range(1, EPOCHS + 1)] for name in measure(1)
}


def assert_whole(uri: str, folder: Path) -> tuple[MlflowClient, Run]:
    """One finished run, each metric with one point an epoch at its own time, nothing left to deliver."""
    client, run = read_only_run(uri)
    assert read_points(client, run) == EXPECTED
    assert (run.data.tags["outcome"], run.data.tags["variant"]) == ("finished", "conv2_3x3")
    assert not list(folder.glob("mlruns/.journal/*"))
    return client, run


def list_files(client: MlflowClient, run: Run, path: str = "") -> list[str]:
    return [file.path for file in client.list_artifacts(run.info.run_id, path or None)]


def test_a_lost_answer_to_the_new_run_leaves_one_run(server: Server, proxy: Proxy, folder: Path) -> None:
    loss = proxy.lose_answer("POST /api/2.0/mlflow/runs/create")
    recorder = record_epochs(proxy.uri, {})
    assert loss.lost
    client, run = assert_whole(server.uri, folder)
    assert run.info.run_id == recorder.run_id
    assert len(client.search_runs([run.info.experiment_id], run_view_type=ViewType.DELETED_ONLY)) == 1


def test_no_answer_at_all_to_the_new_run_leaves_one_run(
    server: Server, proxy: Proxy, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    loss = proxy.lose_answer("POST /api/2.0/mlflow/runs/create")
    record_epochs(proxy.uri, {})
    assert loss.lost
    client, run = assert_whole(server.uri, folder)
    assert not client.search_runs([run.info.experiment_id], run_view_type=ViewType.DELETED_ONLY)


@pytest.mark.parametrize("retries", ["0", "2"])  # ours alone, and MLflow's
def test_lost_answers_to_writes_and_uploads_change_nothing(
    server: Server, proxy: Proxy, folder: Path, retries: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", retries)
    losses = [proxy.lose_answer("mlflow/runs/log-batch", count) for count in (2, 5)]
    losses += [proxy.lose_answer("model_summary.txt"), proxy.lose_answer(".png", 2), proxy.lose_answer(".webp")]
    losses += [proxy.lose_answer("mlflow/runs/update")]
    record_epochs(proxy.uri, {}, images=True)
    assert all(loss.lost for loss in losses)
    client, run = assert_whole(server.uri, folder)
    assert list_files(client, run) == ["environment.json", "images", "model_summary.txt"]
    steps = [path.split("+")[2] for path in list_files(client, run, "images")]
    assert sorted(steps) == ["2", "2", "5", "5"]  # each with its preview
    kept = Path(client.download_artifacts(run.info.run_id, "model_summary.txt", str(folder)))
    assert kept.read_text() == "a summary"


def test_a_training_goes_on_while_the_store_is_away(server: Server, proxy: Proxy, folder: Path) -> None:
    seen = {}

    def look() -> None:
        _, run = read_only_run(server.uri, "RUNNING")
        seen["steps"] = [step for step, _, _ in read_points(MlflowClient(server.uri), run)["train/loss"]]
        proxy.pass_on()

    record_epochs(proxy.uri, {3: proxy.refuse, EPOCHS: look}, images=True)
    assert seen["steps"] == [1, 2]
    client, run = assert_whole(server.uri, folder)
    assert len(list_files(client, run, "images")) == 2 * len(IMAGED)


def test_a_slow_network_changes_nothing(server: Server, proxy: Proxy, folder: Path) -> None:
    proxy.delay(0.1)
    record_epochs(proxy.uri, {2: lambda: proxy.delay(2), 4: lambda: proxy.delay(0.1)})
    assert_whole(server.uri, folder)


def test_answers_that_drip_change_nothing(server: Server, proxy: Proxy, folder: Path) -> None:
    proxy.drip(64, 0.005)
    record_epochs(proxy.uri, {})
    assert_whole(server.uri, folder)


def test_answers_that_never_come_whole_are_given_up(
    server: Server, proxy: Proxy, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    record_epochs(proxy.uri, {2: lambda: proxy.delay(5), 5: proxy.pass_on})
    assert_whole(server.uri, folder)


@pytest.mark.parametrize("between", ["server", "nothing"])
def test_a_database_that_crashes_loses_nothing(
    server: Server, postgres: PostgreSQL, folder: Path, between: str
) -> None:
    uri = {"server": server.uri, "nothing": postgres.uri("mlflow")}[between]
    crashes = {0: postgres.restart, 2: postgres.restart, 4: lambda: postgres.stop(immediate=True), 6: postgres.start}
    record_epochs(uri, crashes)
    assert_whole(uri, folder)


def test_a_run_that_was_deleted_meanwhile_is_not_waited_for(server: Server, folder: Path) -> None:
    def delete() -> None:
        client, run = read_only_run(server.uri, "RUNNING")
        client.delete_run(run.info.run_id)

    with pytest.raises(StoreError) as caught:
        record_epochs(server.uri, {3: delete})
    assert not isinstance(caught.value, StoreUnreachable)  # which it would be after some patience
    assert "deleted" in str(caught.value)


@pytest.mark.parametrize(("store", "rounds"), [("postgres", 3), ("sqlite", 2)])
def test_processes_that_use_a_store_first_at_the_same_moment_all_succeed(
    postgres: PostgreSQL, folder: Path, store: str, rounds: int
) -> None:
    places = {
        "postgres": lambda n: postgres.create_database(f"first-{n}"),
        "sqlite": lambda n: f"sqlite:///{folder}/{n}",
    }
    done = run_python(folder, "-m", "tests.rig.first_use", *map(places[store], range(rounds)))
    assert done.stdout == "1\n" * 4 * rounds, done.stderr
    assert done.returncode == 0
