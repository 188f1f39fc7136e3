"""Read back what runs left beside their numbers, and log the report on it."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from pipeline.errors import StoreError
from pipeline.report.provenance import Provenance
from pipeline.study.settings import Settings
from pipeline.tracking.runs import read_origins
from pipeline.tracking.store import STORE_ERRORS, Store, first_line

REPORT = "report.html"
ENVIRONMENT = "environment.json"
WEIGHTS = "figures/weights.png"
NUMBERS = ("epochs", "batch_size", "seed", "subset", "threads")
WORDS = ("normalization", "precision", "jit")
UNREADABLE = (*STORE_ERRORS, OSError, ValueError)


def read_provenance(
    store: Store, experiment_id: str, runs: pd.DataFrame, pictured: Collection[str]
) -> tuple[Provenance, ...]:
    """Where `runs` (tracking.runs.read_runs) come from, in their order; only those `pictured` with their figure.

    A file that a run has not, or that is damaged or out of reach, is left empty. Raises StoreError where the store
    itself does not answer, or no longer knows a run.
    """
    origins = read_origins(store, experiment_id).to_dict("index")
    if gone := set(runs["run_id"]) - set(origins):
        raise StoreError(f"the run {min(gone)} has been deleted meanwhile; ask again")
    rows = runs.to_dict("records")
    return tuple(_describe_run(row, origins[row["run_id"]], row["run_id"] in pictured) for row in rows)


def record_report(store: Store, run_id: str, page: str) -> None:
    """Log the report on the comparison's run, so that MLflow's UI shows it; raises StoreError."""
    try:
        store.client.log_text(run_id, page, REPORT)
    except (*STORE_ERRORS, OSError) as error:
        raise StoreError(f"the tracking store refused the report: {first_line(error)}") from error


def _describe_run(row: Mapping[Any, Any], origin: Mapping[Any, Any], pictured: bool) -> Provenance:
    """Where one run comes from, by its rows of `read_runs` and `read_origins` and by its files."""
    given: dict[str, Any] = {name: int(row[name]) for name in NUMBERS} | {name: row[name] for name in WORDS}
    quoted = origin["source_type"] == "PROJECT"  # the launcher logs what its shell is to read
    picture = _read_file(origin["artifact_uri"], WEIGHTS) if pictured else b""
    return Provenance(
        run_id=row["run_id"],
        variant=row["variant"],
        settings=Settings(**given, data=" ".join(shlex.split(origin["data"])) if quoted else origin["data"]),
        data_name=origin["data_name"] or "",
        commit=origin["commit"] or "",
        dirty=origin["dirty"] == "True" if origin["dirty"] else None,
        repository=origin["repository"] or "",
        attempts=int(origin["attempts"] or 1),
        seconds=None if pd.isna(row["ended"]) else (row["ended"] - row["started"]).total_seconds(),
        environment=_parse_table(_read_file(origin["artifact_uri"], ENVIRONMENT)),
        weights=picture if picture.startswith(b"\x89PNG\r\n\x1a\n") else b"",
    )


def _read_file(artifact_uri: str, path: str) -> bytes:
    """The content of an artifact, empty if the run has none or it cannot be reached."""
    folder = path.rpartition("/")[0]
    try:
        files = get_artifact_repository(artifact_uri)  # the client would ask for the run again
        if path not in {file.path for file in files.list_artifacts(folder or None)}:
            return b""
        return Path(files.download_artifacts(path)).read_bytes()
    except UNREADABLE:  # runs of another machine: their files are where this one cannot look
        return b""


@functools.lru_cache(maxsize=8)  # the runs of a sweep have the same one
def _parse_table(content: bytes) -> dict[str, object]:
    """The JSON object in a file, empty if it is none."""
    try:
        table = json.loads(content) if content else {}
    except ValueError:
        return {}
    return table if isinstance(table, dict) else {}
