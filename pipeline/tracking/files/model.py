"""The logged model of a run: the network behind its normalisation, written, loaded in safe mode and checked."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from pipeline.data.datasets import Dataset, load_data
from pipeline.errors import StoreError
from pipeline.faults import fault_point
from pipeline.study.settings import Settings
from pipeline.study.tags import MODEL_INPUT, PIXELS
from pipeline.tracking.files.artifacts import MODEL_NAME, NO_MODEL, check_artifacts
from pipeline.tracking.files.predicted import read_run
from pipeline.tracking.mlflow_internals import correct_git_context
from pipeline.tracking.provenance import correct_tags
from pipeline.tracking.store import first_line, open_store
from pipeline.tracking.write.recorder import Recorder

if TYPE_CHECKING:  # importing it would import TensorFlow
    from pipeline.training.run import Result

DESCRIPTION_LIMIT = 1_000_000  # bytes of MLmodel; ours has some 2,000
NORMALIZATIONS = {
    "l2": "each column of an image divided by its L2 norm, or by 1 where that is 0",
    "scale": "divided by 255",
}


def record_model(recorder: Recorder, dataset: Dataset, result: Result) -> None:
    """Log the network, behind its normalisation, in MLflow's keras flavour, once a run."""
    from pipeline.training.network import accept_pixels  # imports TensorFlow

    experiment_id = recorder.client.get_run(recorder.run_id).info.experiment_id
    of_this_run = f"source_run_id = '{recorder.run_id}'"
    for model in recorder.client.search_logged_models([experiment_id], of_this_run):
        recorder.client.delete_logged_model(model.model_id)  # an earlier attempt was killed around here
    # MLflow then refuses what is not uint8, as an array that was normalised already.
    pixels = TensorSpec(np.dtype(np.uint8), (-1, *dataset.images.raw_shape))
    probabilities = TensorSpec(np.dtype(np.float32), (-1, len(dataset.images.classes)))
    correct_git_context(correct_tags)
    with _set_experiment(experiment_id):
        Model.log(
            artifact_path=None,
            name=MODEL_NAME,
            flavor=_KerasFlavor,
            run_id=recorder.run_id,
            model=accept_pixels(result.network, dataset.images, dataset.normalization),
            signature=ModelSignature(Schema([pixels]), Schema([probabilities])),
            input_example=dataset.raw.x_test[:1],
            validate_serving_input=False,
            metadata={"normalization": dataset.normalization, "ink": dataset.ink, "input": describe_input(dataset)},
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in ("tensorflow", "keras", "numpy")],
            step=len(result.history),
        )
    recorder.log({}, {MODEL_INPUT: PIXELS})
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
    """What a user of the logged model gives it, in a sentence."""
    shape, ink = ", ".join(map(str, dataset.images.raw_shape)), dataset.ink
    ground = "" if ink == "none" else f" with {ink} ink"
    return f"uint8 pixels (N, {shape}){ground}; the model normalises them: {NORMALIZATIONS[dataset.normalization]}"


@contextmanager
def _set_experiment(experiment_id: str) -> Iterator[None]:
    """Name the run's own experiment alone in MLflow's environment: Model.log looks there for a model's place."""
    names = "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ["MLFLOW_EXPERIMENT_ID"] = experiment_id
    try:
        yield
    finally:
        del os.environ["MLFLOW_EXPERIMENT_ID"]
        os.environ.update(before)


def verify_run(run_id: str, settings: Settings) -> None:
    """Raise StoreError unless all artifacts are there and the saved model repeats the logged predictions."""
    store = open_store()
    check_artifacts(store, run_id)
    predicted = read_run(store, run_id).predicted
    network = load_network(run_id)
    dataset = load_data(settings.data, subset=settings.subset, normalization=settings.normalization)
    from pipeline.training.network import takes_pixels

    again = network.predict(dataset.raw.x_test if takes_pixels(network) else dataset.x_test, verbose=0).argmax(axis=1)
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
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Skipping nested container", UserWarning)  # weights that could not be read
        return mlflow.keras.load_model(folder, load_model_kwargs={"safe_mode": True})
