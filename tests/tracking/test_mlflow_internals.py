"""Each use of what MLflow does not document, on the versions that are supported."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from mlflow.tracking.context import registry
from mlflow.tracking.context.git_context import GitRunContext
from mlflow.utils.mlflow_tags import MLFLOW_GIT_BRANCH, MLFLOW_GIT_COMMIT, MLFLOW_GIT_REPO_URL

from pipeline.tracking import mlflow_internals as room
from tests.conftest import ROOT, run_python

SUPPORTED = ("3.17", "3.18")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an empty store."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    room.make_tables(path)
    return path


@pytest.fixture
def client(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.chdir(tmp_path)
    shutil.copy(database, tmp_path)
    return MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_the_installed_mlflow_is_one_that_this_file_was_tried_with() -> None:
    assert metadata.version("mlflow").rpartition(".")[0] in SUPPORTED


def test_tables_are_those_that_mlflow_expects(client: MlflowClient) -> None:
    assert [experiment.name for experiment in client.search_experiments()] == ["Default"]


def test_tables_are_known_by_their_version_without_mlflow(database: Path, tmp_path: Path) -> None:
    assert room.knows_tables(database)
    assert room.list_tables(database) >= room.FIRST_TABLES
    with closing(sqlite3.connect(database)) as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert room.knows_version(version)
    assert not room.knows_tables(tmp_path / "none.db")
    code = f"import sys; from pathlib import Path; from pipeline.tracking import mlflow_internals as room; \
print(room.knows_tables(Path({str(database)!r})), room.query_experiments(Path({str(database)!r}))); \
print({{'mlflow', 'pandas'}} & set(sys.modules))"
    assert run_python(ROOT, "-c", code).stdout == "True []\nset()\n"


def test_experiments_and_trainings_are_those_of_the_client(client: MlflowClient, tmp_path: Path) -> None:
    client.create_experiment("gone")
    client.delete_experiment("1")
    place = client.get_experiment("0").artifact_location
    assert room.query_experiments(tmp_path / "mlflow.db") == [(0, "Default", place)]
    ids = [client.create_run("0", tags={"kind": kind}).info.run_id for kind in ("train", "compare")]
    client.log_param(ids[0], "p", "v")
    client.log_metric(ids[0], "m", 0.25, step=1)
    rows, said = room.query_trainings(tmp_path / "mlflow.db", [0])
    run = client.get_run(ids[0])
    info = run.info
    assert rows == [(ids[0], 0, info.status, info.start_time, info.artifact_uri)]
    data = {"tags": run.data.tags, "params": run.data.params, "latest_metrics": run.data.metrics}
    assert said == {table: {ids[0]: values} for table, values in data.items()}


@pytest.mark.slow
def test_the_web_application_is_loaded_on_a_store(database: Path, tmp_path: Path) -> None:
    code = f"from pathlib import Path; from pipeline.tracking.mlflow_internals import load_application; \
apps = load_application('sqlite:///{database}', Path({str(tmp_path)!r}), '127.0.0.1:9'); \
print([type(app).__name__ for app in apps])"
    assert run_python(ROOT, "-c", code).stdout == "['FastAPI', 'Flask']\n"


def test_rows_and_points_are_those_of_the_client(client: MlflowClient, tmp_path: Path) -> None:
    keys = {"params": {"p": "p"}, "tags": {"t": "t"}, "latest_metrics": {"m": "m"}}
    ids = [client.create_run("0", tags={"kind": kind, "t": "é"}).info.run_id for kind in ("train", "compare", "train")]
    client.log_param(ids[0], "p", "v")
    for step, value in ((1, 0.5), (2, float("nan")), (3, 0.25)):
        client.log_metric(ids[0], "m", value, step=step)
    client.delete_run(ids[2])
    found = room.query_runs(tmp_path / "mlflow.db", "0", keys).to_dict("records")
    assert found == [room.flatten_run(client.get_run(ids[0]), keys)]
    assert found[0]["run_id"] == ids[0]
    assert (found[0]["p"], found[0]["t"], found[0]["m"]) == ("v", "é", 0.25)
    points = list(room.query_points(tmp_path / "mlflow.db", ids, ["m"]))
    assert points == [(ids[0], "m", 1, 0.5), (ids[0], "m", 2, None), (ids[0], "m", 3, 0.25)]


def test_every_place_of_an_address_is_a_column_and_no_other_table_has_one(client: MlflowClient, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {(table, row[1]) for table in tables for row in connection.execute(f"PRAGMA table_info('{table}')")}
        places = {place for place in columns if place[1] in ("artifact_location", "artifact_uri", "storage_location")}
        assert places == set(room.ADDRESSES)
        assert next(iter(room.list_addresses(connection, "mlruns")))[0] == ("experiments", "artifact_location")
        with connection:
            old = client.get_experiment("0").artifact_location
            room.replace_address(connection, ("experiments", "artifact_location"), old, "/elsewhere/mlruns/0")
    assert MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").get_experiment("0").artifact_location == (
        "/elsewhere/mlruns/0"
    )


def test_the_address_of_a_server_becomes_a_folder(client: MlflowClient, tmp_path: Path) -> None:
    experiment_id = client.create_experiment("ui first", artifact_location="mlflow-artifacts:/1")
    run_id = client.create_run(experiment_id).info.run_id
    room.set_artifact_root(tmp_path / "mlflow.db", experiment_id, run_id)
    folder = f"{tmp_path}/mlruns/{experiment_id}"
    fresh = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert fresh.get_experiment(experiment_id).artifact_location == folder
    assert fresh.get_run(run_id).info.artifact_uri == f"{folder}/{run_id}/artifacts"


def test_artifacts_are_listed_and_fetched_without_their_run(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("here")
    repository = room.open_artifacts(tmp_path.as_uri())
    assert [file.path for file in repository.list_artifacts()] == ["a.txt"]
    assert Path(repository.download_artifacts("a.txt")).read_text() == "here"


def test_a_run_gets_the_tags_of_its_process() -> None:
    assert {"mlflow.user", "mlflow.source.name", "mlflow.source.type"} <= set(room.read_context_tags())


def test_what_mlflow_says_of_the_repository_can_be_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = GitRunContext()
    provider._cache["git_info"] = {MLFLOW_GIT_COMMIT: "c", MLFLOW_GIT_BRANCH: "main", MLFLOW_GIT_REPO_URL: "secret"}
    monkeypatch.setattr(registry, "_run_context_provider_registry", [provider])
    room.correct_git_context(lambda found: {MLFLOW_GIT_REPO_URL: found[MLFLOW_GIT_REPO_URL].replace("secret", "***")})
    assert room.read_context_tags() == {MLFLOW_GIT_COMMIT: "c", MLFLOW_GIT_BRANCH: "main", MLFLOW_GIT_REPO_URL: "***"}
    room.correct_git_context(lambda found: dict.fromkeys(found, ""))
    assert room.read_context_tags() == {}


def test_a_step_image_is_named_as_mlflow_names_its_own(client: MlflowClient) -> None:
    run_id = client.create_run("0").info.run_id
    client.log_image(run_id, np.zeros((4, 4, 3), np.uint8), key="weights", step=7, timestamp=1000)
    name = room.name_step_image("weights", 7, 1000, run_id)
    theirs = [Path(file.path).name for file in client.list_artifacts(run_id, "images")]
    assert theirs
    assert {stem.rpartition("+")[0] if "compressed" not in stem else "" for stem in theirs} - {""} == {
        name.rpartition("+")[0]
    }
    assert client.get_run(run_id).data.tags[room.LOGGED_IMAGES] == "True"


def test_the_interface_knows_the_preferences_and_tags_and_its_start_page_has_a_head() -> None:
    pages = Path(metadata.distribution("mlflow").locate_file("mlflow/server/js/build"))  # type: ignore[arg-type]
    script = "".join(path.read_text(encoding="utf-8") for path in pages.glob("static/js/main.*.js"))
    for name in (*(key.removesuffix("_v1") for key in room.PREFERENCES), room.COLOUR, room.VIEW_TAG.rstrip(".")):
        assert name in script, name
    assert (pages / "index.html").read_text(encoding="utf-8").count("<head>") == 1
    app = (pages.parents[1] / "__init__.py").read_text(encoding="utf-8")
    assert f"def {room.START_PAGE}():" in app
