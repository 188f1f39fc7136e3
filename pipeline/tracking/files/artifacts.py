"""The files that a finished training leaves in the store: written, found missing or damaged, found again once moved.

A SQLite store has the whole path of each in it, which leads nowhere after the project folder was moved.
"""

from __future__ import annotations

import socket
import sqlite3
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import yaml
from mlflow.entities import LoggedModel

from pipeline.data.datasets import Dataset
from pipeline.data.likeness import draw_sample
from pipeline.errors import StoreError
from pipeline.plain import escape_controls, hide_secrets
from pipeline.private import is_there
from pipeline.study.tags import EVIDENCE, HOST
from pipeline.tracking.mlflow_internals import list_addresses, open_artifacts, replace_address
from pipeline.tracking.runs import read_pages
from pipeline.tracking.store import STORE_ERRORS, Store, first_line, store_errors
from pipeline.tracking.write.recorder import Recorder
from pipeline.tracking.write.survey import RunRecord

if TYPE_CHECKING:  # importing it would import TensorFlow
    from pipeline.training.run import Result

MODEL_NAME, NETWORK = "model", "data/model.keras"
SAMPLE_NAME = "training_sample.npz"
FIGURES = ("loss", "accuracy", "weights", "all_weights", "first_image", "confusion", "mistakes")
ARTIFACTS = (
    *("config.json", "environment.json", "model_summary.txt", "predictions.npz"),
    *(f"figures/{name}.png" for name in FIGURES),
)
"""Every file of a complete training run, besides the model and the step images."""
EVIDENCE_FILES = ("config.json", "environment.json", "predictions.npz")
"""Those of a run that was imported as evidence only."""
MLRUNS = "/mlruns/"
NO_MODEL = (
    *(yaml.YAMLError, ImportError, IndexError, EOFError, MemoryError, UserWarning),
    *(*STORE_ERRORS, OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, zipfile.BadZipFile),
)
"""What MLflow and Keras raise for a file that is not a network, or one that they refuse to load."""


def record_predictions(recorder: Recorder, dataset: Dataset, result: Result) -> None:
    """Log predictions.npz: by test image the label, what the last epoch predicted, and the means of the last three.

    `predicted` (uint8) and `log_probability` (float32, of the true class) are the last epoch's. `recent_wrong` counts
    in how many of the last `recent` epochs the prediction was wrong; `recent_log_probability` (float16) is the mean.
    """
    recent = np.array([each.log_probability for each in result.recent])
    wrong = np.array([each.predicted != dataset.y_test for each in result.recent])
    _record_arrays(
        recorder,
        "predictions.npz",
        label=dataset.y_test,
        **result.recent[-1]._asdict(),
        recent=len(recent),
        recent_wrong=wrong.sum(axis=0).astype(np.uint8),
        recent_log_probability=recent.mean(axis=0, dtype=np.float64).astype(np.float16),
    )


def record_sample(recorder: Recorder, dataset: Dataset) -> None:
    """Log training_sample.npz: some training images, by which `predict` knows a picture that is unlike all of them."""
    sample = draw_sample(dataset.raw)
    _record_arrays(recorder, SAMPLE_NAME, images=sample.images, usual=sample.usual)


def _record_arrays(recorder: Recorder, name: str, **arrays: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        np.savez_compressed(Path(folder, name), **arrays)
        recorder.call(recorder.client.log_artifact, recorder.run_id, str(Path(folder, name)))


def check_artifacts(store: Store, run_id: str) -> None:
    """Raise StoreError unless everything that a training logs is there."""
    if missing := _find_missing(store, store.client.get_run(run_id).info.artifact_uri, ARTIFACTS):
        raise StoreError(f"run {run_id} lacks {', '.join(missing)}; train it again")


def _find_missing(store: Store, artifact_uri: str, expected: Sequence[str]) -> list[str]:
    folders = sorted({path.rpartition("/")[0] for path in expected})
    there = {path for folder in folders for path in list_artifacts(store, artifact_uri, folder)}
    return [path for path in expected if path not in there]


def locate_artifacts(uri: str) -> Path | None:
    """The folder that an artifact URI names, None where it is on a server or in a cloud.

    A plain path may hold what has a meaning in an address, as "#"; MLflow undoes percent signs in both.
    """
    scheme = urlsplit(uri).scheme
    path = urlsplit(uri).path if scheme == "file" else uri
    return Path(url2pathname(path)) if scheme in ("", "file") else None


def is_in_reach(artifact_uri: str, host: str | None) -> bool:
    """Whether the artifacts of a run can be seen from here: not those in a folder of another host.

    Those of an imported run are here, whatever host has trained it.
    """
    place = locate_artifacts(artifact_uri)
    return place is None or host == socket.gethostname() or is_there(place)


def find_damage(store: Store, runs: Sequence[RunRecord]) -> dict[str, str]:
    """Run id -> what is missing, of those finished trainings that miss artifacts or the model; raises StoreError.

    Runs that are not in reach are not judged.
    """
    damage: dict[str, str] = {}
    runs = [run for run in runs if is_in_reach(run.artifact_uri, run.tags.get(HOST))]
    if not runs:
        return damage
    with store_errors(store):
        models = find_models(store, sorted({run.experiment_id for run in runs}))
        for run in runs:
            missing = _find_missing(store, run.artifact_uri, EVIDENCE_FILES if EVIDENCE in run.tags else ARTIFACTS)
            states = [_judge_model(store, model) for model in models.get(run.run_id, ())]
            if "READY" not in states and EVIDENCE not in run.tags:
                missing.append(f"its model ({', '.join(states) or 'none was logged'})")
            if missing:
                damage[run.run_id] = ", ".join(missing)
    return damage


def find_models(store: Store, experiment_ids: Sequence[str], wanted: str = "") -> dict[str, list[LoggedModel]]:
    """Run id -> the models that it logged, those `wanted` by MLflow's filter; raises what MLflow raises."""
    models: dict[str, list[LoggedModel]] = {}
    for model in read_pages(store.client.search_logged_models, experiment_ids, wanted or None):
        models.setdefault(model.source_run_id, []).append(model)
    return models


def _judge_model(store: Store, model: LoggedModel) -> str:
    """The state of a model; READY only where its description and its network are there too."""
    place, state = model.artifact_location, str(model.status)
    if state != "READY":
        return state
    whole = "MLmodel" in list_artifacts(store, place, "") and NETWORK in list_artifacts(store, place, "data")
    return state if whole else "without files"


def list_artifacts(store: Store, uri: str, folder: str) -> list[str]:
    """The paths of the artifacts directly in a folder of an artifact root; MLflow's client would read the run again.

    None of an address that MLflow cannot understand; raises StoreError where a library for it is missing.
    """
    try:
        return [file.path for file in open_artifacts(uri, store.uri).list_artifacts(folder or None)]
    except ValueError:
        return []
    except ImportError as error:
        raise StoreError(
            f"artifacts at {escape_controls(hide_secrets(uri))} cannot be read ({first_line(error)}); install it"
        ) from error


@contextmanager
def open_folder(store: Store, uri: str) -> Iterator[Path]:
    """The files below an artifact root, where they lie or in a copy that is removed again."""
    if folder := locate_artifacts(uri):
        yield folder
        return
    with tempfile.TemporaryDirectory() as copies:
        repository = open_artifacts(uri, store.uri)
        if repository.list_artifacts():
            repository.download_artifacts("", copies)
        yield Path(copies)


def find_moved(store: Store) -> list[tuple[Path, int]]:
    """Every former project folder, with how many addresses in the store lead nowhere; what they name is here now."""
    if store.database is None:
        return []
    with closing(sqlite3.connect(store.database, timeout=20)) as connection:
        counts = Counter(folder for folder, *_ in _find_stale(connection, store.database.resolve().parent))
    return sorted(counts.items())


def fix_moved(store: Store) -> int:
    """Let every address below a former project folder name this one, in one transaction; how many were changed."""
    if store.database is None:
        return 0
    root = store.database.resolve().parent
    with closing(sqlite3.connect(store.database, timeout=20, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")  # what is read is what is changed
        with connection:
            stale = list(_find_stale(connection, root))
            for _, place, old, new in stale:
                replace_address(connection, place, old, new)
    return len(stale)


def _find_stale(connection: sqlite3.Connection, root: Path) -> Iterator[tuple[Path, tuple[str, str], str, str]]:
    """(former project folder, (table, column), address, what it should be) of each address that leads nowhere.

    What it named is below `root` now. Where the former folder itself is gone, that settles it for its other addresses
    too: a run without files has no folder, and would make the old one again.
    """
    places: dict[Path, list[tuple[tuple[str, str], str, Path, Path]]] = {}
    for where, address in list_addresses(connection, MLRUNS):
        old = locate_artifacts(address)
        if old is not None and old.is_absolute():
            former, _, inside = old.as_posix().rpartition(MLRUNS)
            places.setdefault(Path(former), []).append((where, address, old, root / "mlruns" / inside))
    for folder, addresses in sorted(places.items()):
        gone = not folder.exists() and any(new.exists() for *_, new in addresses)
        for where, address, old, new in addresses:
            if gone or (not old.exists() and new.exists()):
                # MLflow undoes percent signs in a plain path too.
                quoted = address.startswith("file:") or "%" in new.as_posix()
                yield folder, where, address, new.as_uri() if quoted else new.as_posix()
