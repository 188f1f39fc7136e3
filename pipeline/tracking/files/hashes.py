"""What a run's files and metric points were when it finished: kept with the run, and compared again later.

`hashes.json` has the sha256 of every file, of the model's files, and of all metric points; a tag has the sha256 of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mlflow.entities import Run

from pipeline.errors import RunsDamaged, StoreError
from pipeline.plain import count
from pipeline.study.tags import HASHES_SHA256
from pipeline.tracking.files.artifacts import MODEL_NAME, NO_MODEL, is_in_reach, list_artifacts, locate_artifacts
from pipeline.tracking.mlflow_internals import open_artifacts, query_all_points, read_artifact
from pipeline.tracking.store import Store, first_line, store_errors
from pipeline.tracking.write.recorder import Recorder
from pipeline.tracking.write.survey import RunRecord, look_up_run, read_trainings

FILE = "hashes.json"
POINTS = "its metric points"
NAMED = 5  # damaged runs in one message
REMEDY = "`python -m pipeline doctor --deep --fix` ends it as failed, so that a sweep trains it again"
Hashes = Mapping[str, str]
"""The sha256 of each file by its path (the model's below `model/`), and that of the points under POINTS."""
logger = logging.getLogger(__name__)


def record_hashes(recorder: Recorder) -> None:
    """Keep the hashes of everything that a run has logged, after the last of it; nothing may be logged later."""
    recorder.flush()
    run = recorder.call(recorder.client.get_run, recorder.run_id)
    hashes = recorder.call(_read_hashes, recorder.store, run.info.run_id, run.info.artifact_uri, run.data.metrics)
    text = json.dumps(hashes, sort_keys=True, indent=1)
    recorder.call(recorder.client.log_text, recorder.run_id, text, FILE)
    recorder.log({}, {HASHES_SHA256: hashlib.sha256(text.encode()).hexdigest()})


def find_changes(store: Store, run: RunRecord) -> list[str] | None:
    """What of a run is no longer as it was when it finished, as `model.keras is missing`; None where no hash was kept.

    Files that came later are not judged. Raises StoreError where the store itself does not answer.
    """
    if HASHES_SHA256 not in run.tags:
        return None
    kept, wrong = _read_kept(store, run)
    if wrong:
        return [wrong]
    with store_errors(store):
        found = _read_hashes(store, run.run_id, run.artifact_uri, run.metrics)
    state = {name: "is missing" if name not in found else "is changed" for name in kept} | {POINTS: "are changed"}
    return [f"{name} {state[name]}" for name in sorted(kept) if found.get(name) != kept[name]]


def demand_unchanged(store: Store, run_ids: Iterable[str]) -> None:
    """Raise RunsDamaged for the first run that is damaged; warn of those that an earlier version finished."""
    unknown = 0
    for run_id in run_ids:
        run = look_up_run(store, run_id)
        if run is None or not is_in_reach(run):
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
    damaged, runs = [], read_trainings(store, experiment_id)
    for run_id in run_ids:
        run = runs.get(run_id)
        if run is None or HASHES_SHA256 not in run.tags or not is_in_reach(run):
            continue
        kept, wrong = _read_kept(store, run)
        with store_errors(store):
            if wrong or kept[POINTS] != _hash_points(store, run_id, run.metrics):
                damaged.append(f"run {run_id} is damaged: {wrong or f'{POINTS} are changed'}")
    if damaged:
        more = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
        raise RunsDamaged(f"{', '.join(damaged[:NAMED])}{more}; {REMEDY}")


def _read_kept(store: Store, run: RunRecord) -> tuple[Hashes, str]:
    """The hashes that a run has kept, and what is wrong with their file; raises StoreError where nobody can tell."""
    folder = locate_artifacts(run.artifact_uri)
    try:
        content = (folder / FILE).read_bytes() if folder else read_artifact(run.artifact_uri, FILE, store.uri)
    except NO_MODEL as error:
        with store_errors(store, f"cannot show the files of run {run.run_id}"):
            there = [] if folder else list_artifacts(store, run.artifact_uri, "")
        if FILE in there:  # a server says 500 for what is missing as for what it cannot read now
            raise StoreError(f"the files of run {run.run_id} cannot be read now ({first_line(error)})") from error
        return {}, f"{FILE} is missing"
    if hashlib.sha256(content).hexdigest() != run.tags[HASHES_SHA256]:
        return {}, f"{FILE} is changed"
    return json.loads(content), ""


def _read_hashes(store: Store, run_id: str, artifact_uri: str, latest: Mapping[str, float]) -> dict[str, str]:
    """The hashes as they are now."""
    hashes = {name: value for name, value in _hash_files(store, artifact_uri) if name != FILE}
    for model in _find_models(store, store.client.get_run(run_id)):
        hashes |= {f"{MODEL_NAME}/{name}": value for name, value in _hash_files(store, model)}
    return {**hashes, POINTS: _hash_points(store, run_id, latest)}


def _find_models(store: Store, run: Run) -> list[str]:
    """Where the models of a run are."""
    wanted = f"source_run_id = '{run.info.run_id}' AND name = '{MODEL_NAME}'"
    return [each.artifact_location for each in store.client.search_logged_models([run.info.experiment_id], wanted)]


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


def _hash_points(store: Store, run_id: str, latest: Mapping[str, float]) -> str:
    """sha256 of every point of every metric with its step, time and value, and of the values that a table shows."""
    if store.database:
        points = set(query_all_points(store.database, run_id))
    else:
        found = (each for name in latest for each in store.client.get_metric_history(run_id, name))
        points = {(each.key, each.step, each.timestamp, each.value) for each in found}
    rows = sorted([name, step, moment, repr(float(value))] for name, step, moment, value in points)
    shown = sorted([name, repr(float(value))] for name, value in latest.items())
    return hashlib.sha256(json.dumps([rows, shown]).encode()).hexdigest()
