"""What a finished training should have left in the store, and has not."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow

from pipeline.tracking.store import Store
from pipeline.tracking.survey import PAGE, RunRecord, read_pages, told


def locate_artifacts(uri: str) -> Path | None:
    """The folder that an artifact URI names, None where it is on a server or in a cloud."""
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme in ("", "file") else None


def is_in_reach(run: RunRecord) -> bool:
    """Whether the artifacts of a run can be seen from here: not those in a folder of another host."""
    return locate_artifacts(run.artifact_uri) is None or run.tags.get("host") == socket.gethostname()


def find_damage(store: Store, runs: Sequence[RunRecord]) -> dict[str, str]:
    """Run id -> what is missing, of those finished trainings that miss artifacts or the model; raises StoreError.

    Runs that are not in reach are not judged.
    """
    from pipeline.tracking.artifacts import ARTIFACTS

    damage: dict[str, str] = {}
    runs = [run for run in runs if is_in_reach(run)]
    if not runs:
        return damage
    with told():
        models = _read_models(store, sorted({run.experiment_id for run in runs}))
        for run in runs:
            folders = sorted({path.rpartition("/")[0] for path in ARTIFACTS})
            there = {path for folder in folders for path in _list_artifacts(store, run.artifact_uri, folder)}
            missing = [path for path in ARTIFACTS if path not in there]
            states = models.get(run.run_id, [])
            if "READY" not in states:
                missing.append(f"its model ({', '.join(states) or 'none was logged'})")
            if missing:
                damage[run.run_id] = ", ".join(missing)
    return damage


def _read_models(store: Store, experiment_ids: list[str]) -> dict[str, list[str]]:
    """Run id -> the states of the models that it logged; READY only where the files are there too."""
    found = read_pages(
        lambda token: store.client.search_logged_models(experiment_ids, max_results=PAGE, page_token=token)
    )
    models: dict[str, list[str]] = {}
    for model in found:
        state = str(model.status)
        if state == "READY" and "MLmodel" not in _list_artifacts(store, model.artifact_location, ""):
            state = "without files"
        models.setdefault(model.source_run_id, []).append(state)
    return models


def _list_artifacts(store: Store, uri: str, folder: str) -> list[str]:
    """The paths of the artifacts directly in a folder of an artifact root; MLflow's client would read the run anew."""
    found = mlflow.artifacts.list_artifacts(artifact_uri=f"{uri}/{folder}".rstrip("/"), tracking_uri=store.uri)
    return [f"{folder}/{file.path.rpartition('/')[2]}".lstrip("/") for file in found]
