"""Read back what runs predicted for each test image."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from pipeline.analysis.images import Predicted
from pipeline.tracking.damage import locate_artifacts
from pipeline.tracking.query import read_origins
from pipeline.tracking.store import STORE_ERRORS, Store

PREDICTIONS = "predictions.npz"
RECENT = ("recent_wrong", "recent_log_probability")


def read_predicted(
    store: Store, experiment_id: str, run_ids: Sequence[str], everywhere: bool = True
) -> dict[str, Predicted]:
    """predictions.npz of these runs, by run id; only those in a folder of this machine unless asked `everywhere`.

    A run without the file, or with one that is damaged or out of reach, is left out. Raises StoreError.
    """
    places = read_origins(store, experiment_id)["artifact_uri"]
    found = {}
    for run_id in run_ids:
        uri = places.get(run_id)
        folder = locate_artifacts(uri) if uri else None
        if uri is None or (folder is None and not everywhere):
            continue
        try:
            path = Path(get_artifact_repository(uri).download_artifacts(PREDICTIONS)) if folder is None else None
            found[run_id] = _parse((path or Path(str(folder)) / PREDICTIONS).read_bytes())
        except (*STORE_ERRORS, OSError, ValueError, KeyError, zipfile.BadZipFile):
            continue
    return found


def _parse(content: bytes) -> Predicted:
    """The arrays of a file; raises ValueError, KeyError or BadZipFile for a damaged one."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        recent = {name: arrays[name] for name in RECENT if name in arrays}
        number = int(arrays["recent"]) if "recent" in arrays and len(recent) == len(RECENT) else 0
        read = Predicted(
            label=arrays["label"],
            predicted=arrays["predicted"],
            log_probability=arrays["log_probability"],
            recent=number,
            **recent,
        )
    lengths = {len(read.label), len(read.predicted), len(read.log_probability), *map(len, recent.values())}
    if len(lengths) > 1:
        raise ValueError("its arrays are not of one length")
    return read
