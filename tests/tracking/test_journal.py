from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
import sqlalchemy.exc
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, RESOURCE_DOES_NOT_EXIST, TEMPORARILY_UNAVAILABLE
from mlflow.tracking import MlflowClient

from pipeline.errors import StoreError, StoreUnreachable
from pipeline.tracking.quick import find_journals, locate_journals
from pipeline.tracking.store import Store, is_unreachable, open_store
from pipeline.tracking.write.journal import Journal
from tests.tracking.planted import plant_journal


@pytest.fixture
def store(store_uri: str) -> Store:
    return open_store()


def go_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The same store, at an address where nobody answers."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = Store(uri="http://127.0.0.1:9", client=MlflowClient("http://127.0.0.1:9"), lock=store.lock)
    monkeypatch.setattr("pipeline.tracking.write.journal.locate_journals", lambda _: locate_journals(store))
    return away


def read_points(store: Store, run_id: str) -> list[tuple[int, int, float]]:
    return [(point.step, point.timestamp, point.value) for point in store.client.get_metric_history(run_id, "loss")]


def test_what_a_store_that_is_away_missed_comes_later_in_order_and_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = store.client.create_run("0").info.run_id
    journal = Journal(go_away(store, monkeypatch), run_id)
    for epoch in (1, 2):
        journal.log({"loss": 1 / epoch}, {"epoch": str(epoch)}, epoch, 1000 * epoch)
    journal.log_image("weights", 2, {".png": b"png", "+compressed.webp": b"webp"})
    journal.end("KILLED")
    assert [record.getMessage()[:37] for record in caplog.records] == ["the tracking store is unreachable (AP"]
    assert run_id in find_journals(store)
    kept = journal.path.read_bytes()
    for _ in range(2):  # the second time as if the first one's process had died before it forgot
        journal.path.write_bytes(kept)
        (folder := journal.path.with_suffix("")).mkdir(exist_ok=True)
        for name in json.loads(kept.splitlines()[2])["files"]:
            (folder / name).write_bytes(b"image")
        assert Journal(store, run_id).deliver()
        assert run_id not in find_journals(store)
        assert not folder.exists()
    run = store.client.get_run(run_id)
    assert read_points(store, run_id) == [(1, 1000, 1.0), (2, 2000, 0.5)]
    assert (run.info.status, run.data.tags["epoch"], run.data.tags["mlflow.loggedImages"]) == ("KILLED", "2", "True")
    assert len(store.client.list_artifacts(run_id, "images")) == 2


def test_patience_ends_with_what_to_do(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_STORE_PATIENCE", "0")
    run_id = store.client.create_run("0").info.run_id
    journal = Journal(go_away(store, monkeypatch), run_id)
    with pytest.raises(StoreUnreachable, match=rf"run {run_id} is safe .*`python -m pipeline sync` delivers it"):
        journal.call(journal.client.get_run, run_id)


def test_a_refusal_is_no_absence(store: Store) -> None:
    journal = Journal(store, "0" * 32)
    with pytest.raises(MlflowException, match="not found"):
        journal.log({"loss": 1.0}, {}, 1, 1000)
    with pytest.raises(MlflowException, match="not found"):
        journal.call(store.client.get_run, "0" * 32)
    journal.path.unlink()


def test_a_line_that_a_death_cut_short_is_left_out(store: Store) -> None:
    run_id = store.client.create_run("0").info.run_id
    plant_journal(store, run_id, '{"metrics": [["loss", 0.5, 1000, 1]], "tags": {}}\n{"metrics": [["loss", 0.')
    assert Journal(store, run_id).deliver()
    assert read_points(store, run_id) == [(1, 1000, 0.5)]


def test_where_the_disk_is_full_the_store_keeps_it(store: Store) -> None:
    run_id = store.client.create_run("0").info.run_id
    journal = Journal(store, run_id)
    journal.path = Path("/dev/full")  # every write to it finds no space
    journal._clear = lambda: None  # type: ignore[method-assign]
    journal.log({"loss": 0.5}, {}, 1, 1000)
    assert read_points(store, run_id) == [(1, 1000, 0.5)]


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def answer(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(response=response)


LOST = sqlalchemy.exc.InterfaceError("INSERT", {}, Exception("the connection is closed"))
TWICE = sqlalchemy.exc.IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed"))


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (MlflowException("no connection"), True),
        (MlflowException("locked", TEMPORARILY_UNAVAILABLE), True),
        (MlflowException("gone", RESOURCE_DOES_NOT_EXIST), False),
        (caused(MlflowException("lost", BAD_REQUEST), LOST), True),
        (caused(MlflowException("twice", BAD_REQUEST), TWICE), False),
        (RestException({"error_code": "RESOURCE_DOES_NOT_EXIST"}), False),
        (requests.ConnectionError(), True),
        (answer(503), True),
        (answer(403), False),
        (LOST, True),
    ],
)
def test_only_what_may_pass_counts_as_away(error: Exception, away: bool) -> None:
    assert is_unreachable(error) is away


def test_a_patience_that_is_no_number_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_STORE_PATIENCE", "2m")
    with pytest.raises(
        StoreError, match=r'^PIPELINE_STORE_PATIENCE is "2m"; set it to a number of seconds, such as 120$'
    ):
        Journal(store, "0" * 32)
