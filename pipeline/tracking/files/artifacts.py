"""What a finished training leaves in the store besides its numbers: written, read back and checked, found missing."""

from __future__ import annotations

import os
import socket
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow
import numpy as np
import yaml
from mlflow.models import Model

from pipeline.data.datasets import Dataset, load_data
from pipeline.data.likeness import draw_sample
from pipeline.errors import StoreError
from pipeline.faults import fault_point
from pipeline.study.settings import Settings
from pipeline.study.tags import EVIDENCE, HOST
from pipeline.tracking.mlflow_internals import open_artifacts, read_artifact
from pipeline.tracking.store import STORE_ERRORS, Store, first_line, open_store, store_errors
from pipeline.tracking.write.recorder import Recorder
from pipeline.tracking.write.survey import PAGE, RunRecord, read_pages

if TYPE_CHECKING:  # importing it would import TensorFlow
    from pipeline.training.run import Result

MODEL_NAME, NETWORK = "model", "data/model.keras"
DESCRIPTION_LIMIT = 1_000_000  # bytes of MLmodel; ours has some 2,000
SAMPLE_NAME = "training_sample.npz"
NORMALIZATIONS = {
    "l2": "each column of an image divided by its L2 norm, or by 1 where that is 0",
    "scale": "divided by 255",
}
ARTIFACTS = (
    "config.json",
    "environment.json",
    "model_summary.txt",
    "predictions.npz",
    "figures/loss.png",
    "figures/accuracy.png",
    "figures/weights.png",
    "figures/all_weights.png",
    "figures/first_image.png",
    "figures/confusion.png",
    "figures/mistakes.png",
)
"""Every file of a complete training run, besides the model and the step images."""
EVIDENCE_FILES = ("config.json", "environment.json", "predictions.npz")
"""Those of a run that was imported as evidence only."""
NO_MODEL = (
    *(yaml.YAMLError, ImportError, IndexError, EOFError, MemoryError),
    *(*STORE_ERRORS, OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, zipfile.BadZipFile),
)
"""What MLflow and Keras raise for a file that is no network, or one that they refuse to load."""


def record_predictions(recorder: Recorder, dataset: Dataset, result: Result) -> None:
    """Log predictions.npz: by test image the label, what the last epoch predicted, and the means of the last three.

    `predicted` (uint8) and `log_probability` (float32, of the true class) are the last epoch's. `recent_wrong` counts
    in how many of the last `recent` epochs the prediction was wrong; `recent_log_probability` (float16) is the mean.
    """
    recent = np.array([each.log_probability for each in result.recent])
    wrong = np.array([each.predicted != dataset.y_test for each in result.recent])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.npz"
        np.savez_compressed(
            path,
            label=dataset.y_test,
            **result.test.predictions._asdict(),
            recent=len(recent),
            recent_wrong=wrong.sum(axis=0).astype(np.uint8),
            recent_log_probability=recent.mean(axis=0, dtype=np.float64).astype(np.float16),
        )
        recorder.call(recorder.client.log_artifact, recorder.run_id, str(path))


def record_sample(recorder: Recorder, dataset: Dataset) -> None:
    """Log training_sample.npz: some training images, by which `predict` knows a picture that is unlike all of them."""
    sample = draw_sample(dataset.raw)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SAMPLE_NAME
        np.savez_compressed(path, images=sample.images, usual=sample.usual)
        recorder.call(recorder.client.log_artifact, recorder.run_id, str(path))


def record_model(recorder: Recorder, dataset: Dataset, result: Result) -> None:
    """Log the network in MLflow's keras flavour, once a run.

    With its signature, explicit requirements, one test image as the network takes it for an example, and metadata that
    say what an array of pixels must become.
    """
    from mlflow.keras.utils import get_model_signature  # imports TensorFlow

    experiment_id = recorder.client.get_run(recorder.run_id).info.experiment_id
    of_this_run = f"source_run_id = '{recorder.run_id}'"
    for model in recorder.client.search_logged_models([experiment_id], of_this_run):
        recorder.client.delete_logged_model(model.model_id)  # an earlier attempt was killed around here
    with _set_experiment(experiment_id):
        Model.log(
            artifact_path=None,
            name=MODEL_NAME,
            flavor=_KerasFlavor,
            run_id=recorder.run_id,
            model=result.network,
            signature=get_model_signature(result.network),
            input_example=dataset.x_test[:1],
            validate_serving_input=False,
            metadata={"normalization": dataset.normalization, "ink": dataset.ink, "input": describe_input(dataset)},
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in ("tensorflow", "keras", "numpy")],
            step=len(result.history),
        )
    fault_point("model-logged")


class _KerasFlavor:
    """MLflow's keras flavour, which writes an input example into a folder that is not there (mlflow issue 16183)."""

    @staticmethod
    def save_model(path: str, *, validate_serving_input: bool, **model: Any) -> None:
        """Make the folder, then save into it; the switch is Model.log's alone, which hands it on."""
        del validate_serving_input
        Path(path).mkdir()
        mlflow.keras.save_model(path=path, **model)


def describe_input(dataset: Dataset) -> str:
    """What a user of the logged model has to do with pixels of 0 to 255 first, in a sentence."""
    return (
        f"float32 {tuple(dataset.x_train.shape[1:])} with {dataset.ink} ink; make it of uint8 pixels (N, 28, 28) by "
        f'pipeline.data.datasets.normalise(pixels, "{dataset.normalization}"): {NORMALIZATIONS[dataset.normalization]}'
    )


@contextmanager
def _set_experiment(experiment_id: str) -> Iterator[None]:
    """Name the run's own experiment in MLflow's environment: Model.log looks there for a model's place."""
    before = os.environ.get("MLFLOW_EXPERIMENT_ID")
    os.environ["MLFLOW_EXPERIMENT_ID"] = experiment_id
    try:
        yield
    finally:
        os.environ.pop("MLFLOW_EXPERIMENT_ID")
        if before is not None:
            os.environ["MLFLOW_EXPERIMENT_ID"] = before


def verify_run(run_id: str, settings: Settings) -> None:
    """Raise StoreError unless all artifacts are there and the saved model repeats the logged predictions."""
    store = open_store()
    if missing := find_missing_artifacts(store, run_id):
        raise StoreError(f"run {run_id} lacks {', '.join(missing)}; train it again")
    content = read_artifact(store.client.get_run(run_id).info.artifact_uri, "predictions.npz", store.uri)
    with np.load(BytesIO(content), allow_pickle=False) as logged:
        predicted = logged["predicted"]
    network = load_network(run_id)
    dataset = load_data(settings.data, subset=settings.subset, normalization=settings.normalization)
    again = network.predict(dataset.x_test, verbose=0).argmax(axis=1)
    if not np.array_equal(predicted, again):
        raise StoreError(f"the model of run {run_id} does not repeat its predictions; train it again")


def load_network(run_id: str) -> Any:
    """The logged Keras model of a run, without executing what a file may hold; raises StoreError."""
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    try:
        with tempfile.TemporaryDirectory() as copies:
            return _load_model(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/{MODEL_NAME}", dst_path=copies))
    except NO_MODEL as error:
        raise StoreError(f"the model of run {run_id} cannot be loaded ({first_line(error)}); train it again") from error


def _load_model(folder: str) -> Any:
    """The Keras model in a folder; raises one of NO_MODEL."""
    if (Path(folder) / "MLmodel").stat().st_size > DESCRIPTION_LIMIT:
        raise ValueError(f"its MLmodel file has more than {DESCRIPTION_LIMIT:,} bytes")
    if Model.load(folder).flavors["keras"].get("save_exported_model"):
        raise ValueError("is no .keras file")  # a TensorFlow graph, which knows no safe mode
    return mlflow.keras.load_model(folder, load_model_kwargs={"safe_mode": True})


def find_missing_artifacts(store: Store, run_id: str) -> list[str]:
    """The artifacts of a training run that are not in the store."""
    folders = {path.partition("/")[0] for path in ARTIFACTS if "/" in path}
    found = {file.path for folder in ("", *folders) for file in store.client.list_artifacts(run_id, folder or None)}
    return [path for path in ARTIFACTS if path not in found]


def locate_artifacts(uri: str) -> Path | None:
    """The folder that an artifact URI names, None where it is on a server or in a cloud.

    A plain path may hold what has a meaning in an address, as "#"; MLflow undoes percent signs in both.
    """
    scheme = urlsplit(uri).scheme
    path = urlsplit(uri).path if scheme == "file" else uri
    return Path(url2pathname(path)) if scheme in ("", "file") else None


def is_in_reach(run: RunRecord) -> bool:
    """Whether the artifacts of a run can be seen from here: not those in a folder of another host."""
    return locate_artifacts(run.artifact_uri) is None or run.tags.get(HOST) == socket.gethostname()


def find_damage(store: Store, runs: Sequence[RunRecord]) -> dict[str, str]:
    """Run id -> what is missing, of those finished trainings that miss artifacts or the model; raises StoreError.

    Runs that are not in reach are not judged.
    """
    damage: dict[str, str] = {}
    runs = [run for run in runs if is_in_reach(run)]
    if not runs:
        return damage
    with store_errors(store):
        models = _read_models(store, sorted({run.experiment_id for run in runs}))
        for run in runs:
            expected = EVIDENCE_FILES if EVIDENCE in run.tags else ARTIFACTS
            folders = sorted({path.rpartition("/")[0] for path in expected})
            there = {path for folder in folders for path in _list_artifacts(store, run.artifact_uri, folder)}
            missing = [path for path in expected if path not in there]
            states = models.get(run.run_id, [])
            if "READY" not in states and EVIDENCE not in run.tags:
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
        if state == "READY" and not _has_files(store, model.artifact_location):
            state = "without files"
        models.setdefault(model.source_run_id, []).append(state)
    return models


def _has_files(store: Store, uri: str) -> bool:
    """Whether a model's description and network are there."""
    return "MLmodel" in _list_artifacts(store, uri, "") and NETWORK in _list_artifacts(store, uri, "data")


def _list_artifacts(store: Store, uri: str, folder: str) -> list[str]:
    """The paths of the artifacts directly in a folder of an artifact root; MLflow's client would read the run again."""
    return [file.path for file in open_artifacts(uri, store.uri).list_artifacts(folder or None)]
