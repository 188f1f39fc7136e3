"""What another user may read, what a loaded model leaves behind, and what another project's repository tells."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from pipeline.data.datasets import load_data
from pipeline.plain import hide_secrets
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.tracking import provenance
from pipeline.tracking.files.model import load_network, record_model
from pipeline.tracking.store import open_store
from pipeline.tracking.write.journal import Journal
from pipeline.tracking.write.recorder import record_run
from pipeline.tracking.write.resume import locate_checkpoints
from pipeline.training.checkpoint import hold_checkpoints
from pipeline.training.network import build_network
from pipeline.training.observer import Epoch
from tests.conftest import SUBSET

CANARY = "canary-51c0"


@pytest.fixture
def open_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that everybody may enter, of a user whose umask forbids nothing."""
    before = os.umask(0)
    folder = tmp_path / "store"
    folder.mkdir()
    monkeypatch.chdir(folder)  # its tables are made here, not copied
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    yield folder
    os.umask(before)


def find_open(folder: Path) -> set[Path]:
    """What others may read, write or enter, of what is not in a folder that they may not enter."""
    found = set()
    for path in folder.iterdir():
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            found |= {path} | (find_open(path) if path.is_dir() else set())
    return found


@pytest.mark.parametrize(("launched", "cloned"), [(False, True), (True, False)])
def test_a_new_store_with_its_journals_and_checkpoints_is_its_owners_alone(
    open_folder: Path, launched: bool, cloned: bool
) -> None:
    if cloned:
        (open_folder / "mlruns").mkdir()
        (open_folder / "mlruns" / "README.md").write_text("the folder that a clone has")
    if launched:  # `mlflow run` makes the tables before any code of ours runs
        MlflowClient(f"sqlite:///{open_folder / 'mlflow.db'}").search_experiments()
        assert open_folder / "mlflow.db" in find_open(open_folder)
    store = open_store()
    with record_run(store, find_variant("conv2_3x3"), Settings()) as run:
        journal = Journal(store, run.run_id)
        journal.next_try = float("inf")
        journal.log_image("weights", 1, {".png": b"image"})
        with hold_checkpoints(locate_checkpoints(store, run.run_id), {}) as checkpoints:
            checkpoints.save([Epoch(metrics={}, ended=0)], {"a": np.zeros(1)})
        run.client.log_text(run.run_id, "text", "file.txt")
        assert find_open(open_folder) == set()
        (open_folder / "mlruns").chmod(0o755)  # the user lets others in
        assert not [path for path in find_open(open_folder) if "mlruns/." in path.as_posix()]
        assert list(open_folder.glob("mlruns/.checkpoints/*/epoch-00001.checkpoint"))
        assert list(open_folder.glob("mlruns/.journal/*/*.png"))
    (open_folder / "mlflow.db").chmod(0o640)
    open_store()
    assert stat.S_IMODE((open_folder / "mlflow.db").stat().st_mode) == 0o640
    assert stat.S_IMODE((open_folder / "mlruns").stat().st_mode) == 0o755


def test_a_network_that_is_loaded_leaves_no_copy(
    trained: tuple[str, str], store_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    open_store()
    assert load_network(trained[0]).count_params() > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address",
    [
        f"https://me:{CANARY}@example.org/study.git",
        f"https://{CANARY}@example.org/study.git",
        f"https://example.org/study.git?private_token={CANARY}",
        f"postgresql+psycopg://me@db/x?sslmode=require&password={CANARY}",
        f"mysql://db/x?PASSWD={CANARY}#top",
        f"https://bucket/x?X-Amz-Signature={CANARY}",
    ],
)
def test_a_secret_in_an_address_is_hidden_wherever_it_stands(address: str) -> None:
    assert CANARY not in hide_secrets(f"cannot reach '{address}' (timeout)")
    assert hide_secrets("connect to me@db failed for 'canary-51c0'", address).count(CANARY) == (
        1 if address.startswith("https://canary") else 0
    )


def test_what_is_no_secret_is_shown() -> None:
    for text in ("sqlite:////a/b.db?timeout=60", "https://example.org/a?page=2", "mail me@example.org, at 3:4@5"):
        assert hide_secrets(text) == text


def run_git(folder: Path, *words: str) -> None:
    me = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", "-C", str(folder), *me, *words], check=True, capture_output=True)


@pytest.fixture
def monorepo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another project's clone with a secret that is not committed; this project was unpacked inside of it."""
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "study"
    inner.mkdir(parents=True)
    run_git(outer, "init", "--quiet", "--initial-branch=main")
    run_git(outer, "remote", "add", "origin", f"https://example.org/outer.git?private_token={CANARY}")
    (outer / "secrets.env").write_text("nothing yet\n")
    run_git(outer, "add", ".")
    run_git(outer, "commit", "--quiet", "--message=outer")
    (outer / "secrets.env").write_text(f"KEY={CANARY}\n")
    (outer / "untracked-canary-51c0").touch()
    (inner / "MLproject").write_text("name: study\n")
    (inner / "main.py").write_text("first\n")
    monkeypatch.setattr(provenance, "project_root", lambda: inner)
    monkeypatch.setattr("mlflow.tracking.context.git_context._get_main_file", lambda: str(inner / "main.py"))
    monkeypatch.setattr("mlflow.tracking.context.registry._run_context_provider_registry", make_registry())
    return inner


def make_registry() -> object:
    """MLflow's own look at the surroundings, which it otherwise takes once a process."""
    from mlflow.tracking.context.git_context import GitRunContext
    from mlflow.tracking.context.registry import RunContextProviderRegistry

    registry = RunContextProviderRegistry()
    registry.register(GitRunContext)
    return registry


@pytest.mark.parametrize("launched", [False, True])
def test_the_repository_around_the_project_is_not_told(
    monorepo: Path, store_uri: str, monkeypatch: pytest.MonkeyPatch, launched: bool
) -> None:
    store = open_store()
    variant, settings = find_variant("conv2_3x3"), Settings()
    if launched:
        tags = dict.fromkeys(provenance.GIT_TAGS, f"https://outer?token={CANARY}")
        monkeypatch.setenv("MLFLOW_RUN_ID", store.client.create_run("0", tags=tags).info.run_id)
    with record_run(store, variant, settings) as run:
        run.log_source(variant, settings)
    tags = store.client.get_run(run.run_id).data.tags
    assert not set(provenance.GIT_TAGS) & set(tags)
    assert "git.dirty" not in tags
    assert "git.diff" not in {file.path for file in store.client.list_artifacts(run.run_id)}


@pytest.mark.parametrize("own", [False, True])
def test_a_logged_model_tells_no_more_of_the_repository_than_its_run(
    monorepo: Path, store_uri: str, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """MLflow asks git itself when it logs a model, and would keep the token of the remote."""
    if own:
        run_git(monorepo, "add", ".")
        run_git(monorepo, "commit", "--quiet", "--message=study", "--", ".")
    store = open_store()
    with record_run(store, find_variant("conv2_3x3"), Settings()) as run:
        result: Any = SimpleNamespace(network=build_network(find_variant("conv2_3x3"), 0), history=[])
        record_model(run, load_data(str(SUBSET), subset=600), result)
    (model,) = store.client.search_logged_models(["0"], f"source_run_id = '{run.run_id}'")
    wanted = {provenance.REPOSITORY: "https://example.org/outer.git?private_token=***"} if own else {}
    assert {name: model.tags[name] for name in (provenance.REPOSITORY,) if name in model.tags} == wanted
    assert (provenance.COMMIT in model.tags) == own
    assert CANARY not in str(model.tags)


def test_a_project_that_a_repository_tracks_tells_of_its_own_folder_alone(monorepo: Path, store_uri: str) -> None:
    run_git(monorepo, "add", ".")
    run_git(monorepo, "commit", "--quiet", "--message=study", "--", ".")
    (monorepo / "main.py").write_text("second\n")
    (monorepo / "new.py").touch()
    store = open_store()
    variant, settings = find_variant("conv2_3x3"), Settings()
    with record_run(store, variant, settings) as run:
        run.log_source(variant, settings)
    found = store.client.get_run(run.run_id)
    assert len(found.data.tags[provenance.COMMIT]) == 40
    assert found.data.tags[provenance.REPOSITORY] == "https://example.org/outer.git?private_token=***"
    told = (Path(found.info.artifact_uri) / "git.diff").read_text()
    assert "+second" in told
    assert "new.py" in told
    assert CANARY not in told
    assert "secrets.env" not in told


def test_a_repository_that_git_does_not_trust_is_said(
    monorepo: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_git(monorepo, "init", "--quiet")
    run_git(monorepo, "add", ".")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with caplog.at_level(logging.WARNING):
        assert provenance.read_source() == ("", "", "")
    assert f"git config --global --add safe.directory '{monorepo}'" in caplog.text
