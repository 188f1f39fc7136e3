"""Read back what runs predicted for each test image."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Sequence

import numpy as np

from pipeline.errors import StoreError
from pipeline.study.predicted import Predicted
from pipeline.tracking.files.artifacts import locate_artifacts
from pipeline.tracking.mlflow_internals import read_artifact
from pipeline.tracking.runs import read_origins
from pipeline.tracking.store import STORE_ERRORS, Store

PREDICTIONS = "predictions.npz"
UNREADABLE = (*STORE_ERRORS, OSError, ValueError, KeyError, zipfile.BadZipFile)
MOST_CHEAP = 1000  # files that are read in some seconds
LAST = ("label", "predicted", "log_probability")
RECENT = ("recent_wrong", "recent_log_probability")


def read_predicted(
    store: Store, experiment_id: str, run_ids: Sequence[str], everywhere: bool = True
) -> dict[str, Predicted]:
    """predictions.npz of these runs, by run id.

    Unless asked `everywhere`, only those in a folder of this machine, and none of more than MOST_CHEAP runs. A run
    without the file, or with one that is damaged or out of reach, is left out. Raises StoreError.
    """
    if not everywhere and len(run_ids) > MOST_CHEAP:
        return {}
    places = read_origins(store, experiment_id)["artifact_uri"]
    found = {}
    for run_id in run_ids:
        uri = places.get(run_id)
        if uri and (everywhere or locate_artifacts(uri)):
            with contextlib.suppress(*UNREADABLE):
                found[run_id] = _parse(read_artifact(uri, PREDICTIONS))
    return found


def read_run(store: Store, run_id: str) -> Predicted:
    """predictions.npz of one run; raises StoreError where it is missing, damaged or out of reach."""
    try:
        return _parse(read_artifact(store.client.get_run(run_id).info.artifact_uri, PREDICTIONS))
    except UNREADABLE as error:
        raise StoreError(
            f"run {run_id} has no {PREDICTIONS} that can be read; train it again, or name another"
        ) from error


def _parse(content: bytes) -> Predicted:
    """The arrays of a file; raises ValueError, KeyError or BadZipFile for a damaged one."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in (*LAST, *RECENT) if name in LAST or name in arrays}
        number = int(arrays["recent"]) if {"recent", *RECENT} <= set(arrays) else 0
    if len(set(map(len, found.values()))) > 1:
        raise ValueError("its arrays are not of one length")
    return Predicted(**found, recent=number)
