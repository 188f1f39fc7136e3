"""What a run's files and metric points were when it finished: kept with the run, and compared again later.

`hashes.json` has the sha256 of every file, of the model's files, and of all metric points; a tag has the sha256 of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from mlflow.entities import RunInfo

from pipeline.errors import RunsDamaged, StoreError
from pipeline.plain import count
from pipeline.study.tags import HASHES_SHA256, HOST
from pipeline.tracking.files.artifacts import MODEL_NAME, NO_MODEL, is_in_reach, list_artifacts, locate_artifacts
from pipeline.tracking.mlflow_internals import BATCH, Keys, Recorded, open_artifacts, query_recorded, read_artifact
from pipeline.tracking.runs import read_rows
from pipeline.tracking.store import Store, first_line, store_errors
from pipeline.tracking.write.recorder import Recorder
from pipeline.tracking.write.survey import RunRecord, look_up_run

FILE = "hashes.json"
POINTS = "its metric points"
KEPT: Keys = {"tags": {HASHES_SHA256: "sha256", HOST: "host"}}
NAMED = 5  # damaged runs in one message
REMEDY = "`python -m pipeline doctor --deep --fix` ends it as failed, so that a sweep trains it again"
Hashes = Mapping[str, str]
"""The sha256 of each file by its path (the model's below `model/`), and that of the points under POINTS."""
logger = logging.getLogger(__name__)


def record_hashes(recorder: Recorder) -> None:
    """Keep the hashes of everything that a run has logged, after the last of it; nothing may be logged later."""
    recorder.flush()
    run = recorder.call(recorder.client.get_run, recorder.run_id)
    hashes = recorder.call(read_hashes, recorder.store, run.info)
    text = json.dumps(hashes, sort_keys=True, indent=1)
    recorder.call(recorder.client.log_text, recorder.run_id, text, FILE)
    recorder.log({}, {HASHES_SHA256: hashlib.sha256(text.encode()).hexdigest()})


def find_changes(store: Store, run: RunRecord) -> list[str] | None:
    """What of a run is no longer as it was when it finished, as `model.keras is missing`; None where no hash was kept.

    Files that came later are not judged. Raises StoreError where the store itself does not answer.
    """
    if HASHES_SHA256 not in run.tags:
        return None
    kept, wrong = _read_kept(store, run.run_id, run.artifact_uri, run.tags[HASHES_SHA256])
    if wrong:
        return [wrong]
    with store_errors(store):
        found = read_hashes(store, run)
    state = {name: "is missing" if name not in found else "is changed" for name in kept} | {POINTS: "are changed"}
    return [f"{name} {state[name]}" for name in sorted(kept) if found.get(name) != kept[name]]


def demand_unchanged(store: Store, run_ids: Iterable[str]) -> None:
    """Raise RunsDamaged for the first run that is damaged; warn of those that an earlier version finished."""
    unknown = 0
    for run_id in run_ids:
        run = look_up_run(store, run_id)
        if run is None or not is_in_reach(run.artifact_uri, run.tags.get(HOST)):
            continue
        changes = find_changes(store, run)
        unknown += changes is None
        if changes:
            raise RunsDamaged(f"run {run_id} is damaged: {', '.join(changes)}; {REMEDY}")
    if unknown:
        logger.warning("%s of an earlier version: no hashes, so damage cannot be detected", count(unknown, "run"))


def demand_recorded_metrics(store: Store, experiment_id: str, run_ids: Iterable[str]) -> None:
    """Raise RunsDamaged that names the runs whose metric points are not those that were recorded; hashes no file.

    Runs of an earlier version, and those whose files are out of reach, are not judged.
    """
    with store_errors(store):
        rows = read_rows(store, experiment_id, KEPT).dropna(subset="sha256").set_index("run_id", drop=False)
    judged = rows.loc[[run_id for run_id in run_ids if run_id in rows.index]]
    damaged = [
        line for first in range(0, len(judged), BATCH) for line in _find_damaged(store, judged[first : first + BATCH])
    ]
    if damaged:
        more = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
        raise RunsDamaged(f"{', '.join(damaged[:NAMED])}{more}; {REMEDY}")


def _find_damaged(store: Store, rows: pd.DataFrame) -> Iterator[str]:
    """What is wrong with the metric points of these runs (run_id, artifact_uri and the columns of KEPT)."""
    runs = [run for run in rows.to_dict("records") if is_in_reach(run["artifact_uri"], run["host"])]
    with store_errors(store):
        found = _hash_points(store, [run["run_id"] for run in runs])
    for run in runs:
        kept, wrong = _read_kept(store, run["run_id"], run["artifact_uri"], run["sha256"])
        if wrong or kept[POINTS] != found[run["run_id"]]:
            yield f"run {run['run_id']} is damaged: {wrong or f'{POINTS} are changed'}"


def _read_kept(store: Store, run_id: str, artifact_uri: str, sha256: str) -> tuple[Hashes, str]:
    """The hashes that a run has kept, and what is wrong with their file; raises StoreError where nobody can tell."""
    folder = locate_artifacts(artifact_uri)
    try:
        content = (folder / FILE).read_bytes() if folder else read_artifact(artifact_uri, FILE, store.uri)
    except NO_MODEL as error:
        with store_errors(store, f"cannot show the files of run {run_id}"):
            there = [] if folder else list_artifacts(store, artifact_uri, "")
        if FILE in there:  # a server says 500 for what is missing as for what it cannot read now
            raise StoreError(f"the files of run {run_id} cannot be read now ({first_line(error)})") from error
        return {}, f"{FILE} is missing"
    if hashlib.sha256(content).hexdigest() != sha256:
        return {}, f"{FILE} is changed"
    return json.loads(content), ""


def read_hashes(store: Store, run: RunRecord | RunInfo) -> dict[str, str]:
    """The hashes of everything that a run has logged, as they are now; raises what MLflow raises."""
    hashes = {name: value for name, value in _hash_files(store, run.artifact_uri) if name != FILE}
    for model in _find_models(store, run):
        hashes |= {f"{MODEL_NAME}/{name}": value for name, value in _hash_files(store, model)}
    return {**hashes, POINTS: _hash_points(store, [run.run_id])[run.run_id]}


def _find_models(store: Store, run: RunRecord | RunInfo) -> list[str]:
    """Where the models of a run are."""
    wanted = f"source_run_id = '{run.run_id}' AND name = '{MODEL_NAME}'"
    return [each.artifact_location for each in store.client.search_logged_models([run.experiment_id], wanted)]


def _hash_files(store: Store, uri: str) -> Iterator[tuple[str, str]]:
    """(path, sha256) of every file below an artifact root."""
    with _open_folder(store, uri) as folder:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    yield path.relative_to(folder).as_posix(), hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _open_folder(store: Store, uri: str) -> Iterator[Path]:
    """The files below an artifact root, where they lie or in a copy that is removed again."""
    if folder := locate_artifacts(uri):
        yield folder
        return
    with tempfile.TemporaryDirectory() as copies:
        repository = open_artifacts(uri, store.uri)
        if repository.list_artifacts():
            repository.download_artifacts("", copies)
        yield Path(copies)


def _hash_points(store: Store, run_ids: Sequence[str]) -> dict[str, str]:
    """sha256 of every point of a run's metrics with its step, time and value, and of the values that a table shows."""
    if store.database:
        found = query_recorded(store.database, run_ids)
    else:
        found = {run_id: _ask_recorded(store, run_id) for run_id in run_ids}
    hashes = {}
    for run_id, (points, latest) in found.items():
        rows = sorted([name, step, moment, repr(float(value))] for name, step, moment, value in points)
        shown = sorted([name, repr(float(value))] for name, value in latest.items())
        hashes[run_id] = hashlib.sha256(json.dumps([rows, shown]).encode()).hexdigest()
    return hashes


def _ask_recorded(store: Store, run_id: str) -> Recorded:
    """What query_recorded finds of one run, through MLflow."""
    latest = store.client.get_run(run_id).data.metrics
    points = (point for name in latest for point in store.client.get_metric_history(run_id, name))
    return {(point.key, point.step, point.timestamp, point.value) for point in points}, latest
