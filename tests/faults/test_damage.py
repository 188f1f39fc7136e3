"""A finished run whose files or numbers have changed since: named, not passed on, and made good by one command."""

from __future__ import annotations

import logging
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.errors import RunsDamaged, StoreError
from pipeline.study.tags import HASHES_SHA256
from pipeline.tracking.files.hashes import FILE, REMEDY, demand_recorded_metrics, demand_unchanged, find_changes
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.write.survey import look_up_run
from pipeline.workflows.report import _find_claims
from tests.conftest import SUBSET, call, enter, entered, execute, flip_middle, refuse, succeed, write_study
from tests.tracking.planted import plant_study

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with one real training."""
    folder = tmp_path_factory.mktemp("damage")
    with entered(folder):
        succeed("train", "--data", str(SUBSET), "--subset=600", "--epochs=1", "--batch-size=300")
    return folder


@pytest.fixture
def store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    enter(folder, monkeypatch)
    return open_store()


@pytest.fixture
def run_id(store: Store, folder: Path) -> Iterator[str]:
    """The run; what a test does to its files and points is undone afterwards."""
    (run,) = store.client.search_runs(["0"])
    files = {path: path.read_bytes() for path in folder.glob("mlruns/0/**/*") if path.is_file()}
    with closing(sqlite3.connect(folder / "mlflow.db", timeout=20)) as connection:
        tables = {
            name: connection.execute(f"SELECT * FROM {name}").fetchall()
            for name in ("metrics", "latest_metrics", "tags")
        }
    yield run.info.run_id
    for other in store.client.search_runs(["0"], f"attributes.run_id != '{run.info.run_id}'"):  # what compares logged
        store.client.delete_run(other.info.run_id)
    for path, content in files.items():
        path.write_bytes(content)
    with closing(sqlite3.connect(folder / "mlflow.db", timeout=20)) as connection, connection:
        for name, rows in tables.items():
            connection.execute(f"DELETE FROM {name}")
            connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)


WHERE = "WHERE run_uuid = ? AND key = 'final/test_accuracy'"
NETWORK = ("models/*/artifacts/data/model.keras", "model/data/model.keras")
FILES = {  # what happens to which file, and how it is named
    "no network": ("missing", *NETWORK),
    "network": ("changed", *NETWORK),
    "MLmodel": ("changed", "models/*/artifacts/MLmodel", "model/MLmodel"),
    "predictions": ("changed", "*/artifacts/predictions.npz", "predictions.npz"),
    "config": ("changed", "*/artifacts/config.json", "config.json"),
    "figure": ("changed", "*/artifacts/figures/loss.png", "figures/loss.png"),
    "image": ("missing", "*/artifacts/images/weights*+step+1+*.png", "images/weights"),
    "no hashes": ("missing", f"*/artifacts/{FILE}", FILE),
    "hashes": ("changed", f"*/artifacts/{FILE}", FILE),
}
POINTS = {
    "halved": f"UPDATE metrics SET value = value / 2 {WHERE}",
    "halved in the table": f"UPDATE latest_metrics SET value = value / 2 {WHERE}",
    "lost point": f"DELETE FROM metrics {WHERE}",
    "other time": f"UPDATE metrics SET timestamp = timestamp + 1 {WHERE}",
    "text": f"UPDATE metrics SET value = 'nonsense' {WHERE}",
    "bytes": f"UPDATE metrics SET step = x'ff' {WHERE}",
}


def spoil(case: str, folder: Path, run_id: str) -> str:
    """Damage the run; what is to be said of it."""
    if case in POINTS:
        execute(folder / "mlflow.db", POINTS[case], run_id)
        return "its metric points are changed"
    state, pattern, name = FILES[case]
    (path,) = (folder / "mlruns" / "0").glob(pattern)
    path.unlink() if state == "missing" else flip_middle(path)
    return f"{name} is {state}"


@pytest.mark.parametrize("case", [*FILES, *POINTS])
def test_damage_is_named_and_not_passed_on(store: Store, run_id: str, folder: Path, tmp_path: Path, case: str) -> None:
    said = spoil(case, folder, run_id).partition(" is ")[0]
    result = call("doctor", "--deep")
    assert result.exit_code == 1
    if case == "no network":  # seen without a look into any file
        assert f"run {run_id}: finished without its model" in call("doctor").output
    else:
        assert f"run {run_id}: finished, and since then {said}" in result.output
    assert "with --fix: ended as failed, so that a sweep trains it again" in result.output
    for command in (
        ("bundle", "export", "Default", "b.zip"),
        ("report", "Default", "--output", str(tmp_path / "r.html")),
    ):
        refused = call(*command)
        assert refused.exit_code == 1, command
        assert f"run {run_id} is damaged: {said}" in refused.stderr
        assert "`python -m pipeline doctor --deep --fix`" in refused.stderr
    assert not (folder / "b.zip").exists()
    assert not (tmp_path / "r.html").exists()
    with pytest.raises(StoreError, match="is damaged"):  # what `promote` asks
        demand_unchanged(store, "0", [run_id])


@pytest.mark.parametrize("case", ["halved", "halved in the table", "lost point", "hashes", "no hashes", "figure"])
def test_nothing_is_judged_from_metrics_that_were_not_recorded(
    store: Store, run_id: str, folder: Path, case: str
) -> None:
    stored = folder / "stored.json"
    assert call("compare", "--format", "json", "--output", str(stored)).exit_code == 0
    logged = len(store.client.search_runs(["0"]))
    said = spoil(case, folder, run_id)
    for command in (("compare",), ("compare", "--trace", "conv2_3x3", "TEST_LOSS"), ("gate", "--against", str(stored))):
        result = call(*command)
        if case == "figure":  # which no number comes from
            assert "damaged" not in result.stderr
        else:
            assert (result.exit_code, result.stdout) == (1, "")
            assert result.stderr == f"Error: run {run_id} is damaged: {said}; {REMEDY}\n"
    assert len(store.client.search_runs(["0"])) == logged  # the same comparison is logged once


@pytest.mark.parametrize(("column", "value"), [("value", "'nonsense'"), ("step", "x'ff'"), ("timestamp", "'today'")])
def test_a_point_that_is_no_number_is_one_line_without_hashes_too(
    store: Store, run_id: str, folder: Path, column: str, value: str
) -> None:
    store.client.delete_tag(run_id, HASHES_SHA256)
    where = "WHERE run_uuid = ? AND key = 'honest/test_loss'"
    execute(folder / "mlflow.db", f"UPDATE metrics SET {column} = {value} {where}", run_id)
    commands = [("bundle", "export", "Default", "all.zip")]
    commands += [("compare",), ("report", "--output", "all.html")] if column != "timestamp" else []
    for command in commands:
        result = call(*command)
        assert result.exit_code == 1
        assert f"Error: run {run_id} is damaged: a point of honest/test_loss is not a number; delete" in result.stderr


def test_nothing_is_published_of_metrics_that_were_not_recorded(
    store: Store, run_id: str, folder: Path, tmp_path: Path
) -> None:
    """Also where the table is of another experiment than the claims, of which there may be no run yet."""
    for name in ("Default", "none"):
        write_study(tmp_path / f"{name}.toml", epochs=1, batch_size=300, threads=2)
    judged, _ = _find_claims(str(tmp_path / "none.toml"))
    assert judged is None
    spoil("halved", folder, run_id)
    with pytest.raises(RunsDamaged, match="its metric points are changed"):
        _find_claims(str(tmp_path / "Default.toml"))
    files = ("--table", str(tmp_path / "Default.toml"), "--claims", str(tmp_path / "none.toml"))
    refused = refuse("publish", *files, "--output", str(tmp_path / "page.md"))
    assert f"run {run_id} is damaged: its metric points are changed" in refused
    assert not (tmp_path / "page.md").exists()


def test_many_runs_whose_metrics_were_not_recorded_are_one_line(store: Store, run_id: str, folder: Path) -> None:
    spoil("halved", folder, run_id)
    with pytest.raises(StoreError, match=r"points are changed and 2 more; `python") as caught:
        demand_recorded_metrics(store, "0", [run_id] * 7)
    assert str(caught.value).count(run_id) == 5


@pytest.mark.parametrize(
    ("address", "said"),
    [("http://10.255.255.1/x", "finished without config.json"), ("s3://a/b", "artifacts at s3://a/b cannot be read (")],
)
def test_an_address_of_artifacts_that_leads_nowhere_is_one_line(
    store: Store, run_id: str, folder: Path, monkeypatch: pytest.MonkeyPatch, address: str, said: str
) -> None:
    for library in ("boto3", "botocore"):  # as where nobody has installed them
        monkeypatch.setitem(sys.modules, library, None)
    before = store.client.get_run(run_id).info.artifact_uri
    execute(folder / "mlflow.db", "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", address, run_id)
    results = [call(*command) for command in (("doctor",), ("doctor", "--deep"), ("doctor", "--fix"), ("compare",))]
    execute(folder / "mlflow.db", "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", before, run_id)
    assert said in results[0].output
    state = store.client.get_run(run_id).info.status
    assert state == ("FINISHED" if address.startswith("s3:") else "FAILED")  # nobody can tell whether it is damaged
    store.client.set_tag(run_id, "outcome", "finished")
    store.client.set_terminated(run_id, "FINISHED")


def test_a_whole_run_is_healthy_also_with_files_that_came_later(store: Store, run_id: str, tmp_path: Path) -> None:
    store.client.log_text(run_id, "card", "model_card.md")
    assert call("doctor", "--deep").output == "healthy: 1 run checked\n"
    assert call("bundle", "export", "Default", str(tmp_path / "b.zip")).exit_code == 0


def test_an_imported_run_keeps_its_hashes(
    store: Store, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed("bundle", "export", "Default", str(tmp_path / "b.zip"))
    enter(tmp_path, monkeypatch)
    succeed("bundle", "import", str(tmp_path / "b.zip"))
    (run,) = open_store().client.search_runs(["0"])
    record = look_up_run(open_store(), run.info.run_id)
    assert find_changes(open_store(), record) == []


def test_one_fix_ends_a_damaged_run(store: Store, run_id: str, folder: Path) -> None:
    spoil("figure", folder, run_id)
    result = call("doctor", "--deep", "--fix")
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "1 found, 1 fixed")
    run = store.client.get_run(run_id)
    assert (run.info.status, run.data.tags["outcome"]) == ("FAILED", "failed")
    assert "figures/loss.png is changed" in run.data.tags["outcome.reason"]
    store.client.set_tag(run_id, "outcome", "finished")
    store.client.set_terminated(run_id, "FINISHED")


def test_a_run_of_an_earlier_version_has_no_hashes_and_is_not_refused(
    empty: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plant_study(open_store(), "old", ("conv2_3x3", "conv2_3x3_reg"), range(1))
    with caplog.at_level(logging.WARNING):
        assert call("report", "old", "--epochs", "4").exit_code == 0
    assert "2 runs of an earlier version: no hashes, so damage cannot be detected" in caplog.text
