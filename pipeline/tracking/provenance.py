"""Read back what runs left beside their numbers, and log the report on it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from pipeline.errors import StoreError
from pipeline.report.provenance import Provenance
from pipeline.study.settings import Settings
from pipeline.tracking.store import STORE_ERRORS, Store, first_line

REPORT = "report.html"
ENVIRONMENT = "environment.json"
WEIGHTS = "figures/weights.png"
NUMBERS = ("epochs", "batch_size", "seed", "subset", "threads")
UNREADABLE = (*STORE_ERRORS, OSError, ValueError)


def read_provenance(store: Store, run_ids: Sequence[str], pictured: Sequence[str]) -> tuple[Provenance, ...]:
    """Where these runs come from, in their order; only those `pictured` with their figure.

    A file that a run has not, or that is damaged or out of reach, is left empty. Raises StoreError where the store
    itself does not answer.
    """
    try:
        runs = [store.client.get_run(run_id) for run_id in run_ids]
    except STORE_ERRORS as error:
        raise StoreError(f"the tracking store did not answer the query: {first_line(error)}") from error
    return tuple(_describe_run(run, run.info.run_id in pictured) for run in runs)


def record_report(store: Store, run_id: str, page: str) -> None:
    """Log the report on the comparison's run, so that MLflow's UI shows it; raises StoreError."""
    try:
        store.client.log_text(run_id, page, REPORT)
    except (*STORE_ERRORS, OSError) as error:
        raise StoreError(f"the tracking store refused the report: {first_line(error)}") from error


def _describe_run(run: Run, pictured: bool) -> Provenance:
    """Where one run comes from, by its params, tags and files."""
    tags, params, info = run.data.tags, run.data.params, run.info
    given: dict[str, Any] = {name: int(params[name.replace("_", "-")]) for name in NUMBERS}
    given |= {name: params[name] for name in ("normalization", "precision", "jit") if name in params}
    quoted = tags.get("mlflow.source.type") == "PROJECT"  # the launcher logs what its shell is to read
    data = " ".join(shlex.split(params["data"])) if quoted else params["data"]
    picture = _read_file(run, WEIGHTS) if pictured else b""
    return Provenance(
        run_id=info.run_id,
        variant=tags["variant"],
        settings=Settings(**given, data=data),
        data_name=params.get("data-name", ""),
        commit=tags.get("mlflow.source.git.commit", ""),
        dirty=tags["git.dirty"] == "True" if "git.dirty" in tags else None,
        repository=tags.get("mlflow.source.git.repoURL", ""),
        attempts=int(tags.get("attempt", "1")),
        seconds=(info.end_time - info.start_time) / 1000 if info.end_time else None,
        environment=_parse_table(_read_file(run, ENVIRONMENT)),
        weights=picture if picture.startswith(b"\x89PNG\r\n\x1a\n") else b"",
    )


def _read_file(run: Run, path: str) -> bytes:
    """The content of an artifact, empty if the run has none or it cannot be reached."""
    folder = path.rpartition("/")[0]
    try:
        files = get_artifact_repository(run.info.artifact_uri)  # the client would ask for the run again
        if path not in {file.path for file in files.list_artifacts(folder or None)}:
            return b""
        return Path(files.download_artifacts(path)).read_bytes()
    except UNREADABLE:  # runs of another machine: their files are where this one cannot look
        return b""


def _parse_table(content: bytes) -> dict[str, object]:
    """The JSON object in a file, empty if it is none."""
    try:
        table = json.loads(content) if content else {}
    except ValueError:
        return {}
    return table if isinstance(table, dict) else {}
