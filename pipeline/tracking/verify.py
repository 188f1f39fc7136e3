"""Read a finished run back and check that it is whole."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.models import Model

from pipeline.data.datasets import load_data
from pipeline.errors import StoreError
from pipeline.study.settings import Settings
from pipeline.tracking.artifacts import ARTIFACTS, MODEL_NAME
from pipeline.tracking.store import STORE_ERRORS, Store, first_line, open_store

NO_MODEL = (*STORE_ERRORS, OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, zipfile.BadZipFile)
"""What MLflow and Keras raise for a file that is no network, or one that they refuse to load."""


def verify_run(run_id: str, settings: Settings) -> None:
    """Raise StoreError unless all artifacts are there and the saved model repeats the logged predictions."""
    store = open_store()
    if missing := find_missing_artifacts(store, run_id):
        raise StoreError(f"run {run_id} lacks {', '.join(missing)}; train it again")
    path = store.client.download_artifacts(run_id, "predictions.npz")
    with np.load(Path(path), allow_pickle=False) as logged:
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
        folder = mlflow.artifacts.download_artifacts(f"runs:/{run_id}/{MODEL_NAME}")
        if Model.load(folder).flavors["keras"].get("save_exported_model"):
            raise ValueError("is no .keras file")  # a TensorFlow graph, which knows no safe mode
        return mlflow.keras.load_model(folder, load_model_kwargs={"safe_mode": True})
    except NO_MODEL as error:
        raise StoreError(f"the model of run {run_id} cannot be loaded ({first_line(error)}); train it again") from error


def find_missing_artifacts(store: Store, run_id: str) -> list[str]:
    """The artifacts of a training run that are not in the store."""
    folders = {path.partition("/")[0] for path in ARTIFACTS if "/" in path}
    found = {file.path for folder in ("", *folders) for file in store.client.list_artifacts(run_id, folder or None)}
    return [path for path in ARTIFACTS if path not in found]
