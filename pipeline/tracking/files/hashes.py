"""What a run's files and metric points were when it finished: kept with the run, and compared again later.

`hashes.json` has the sha256 of every file, of the model's files, and of all metric points; a tag has the sha256 of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd
from mlflow.entities import LoggedModel, RunInfo

from pipeline.errors import RunsDamaged, StoreError
from pipeline.plain import count
from pipeline.study.tags import HASHES_SHA256, HOST
from pipeline.tracking.files.artifacts import (
    MODEL_NAME,
    NO_MODEL,
    find_models,
    is_in_reach,
    list_artifacts,
    locate_artifacts,
    open_folder,
)
from pipeline.tracking.mlflow_internals import BATCH, Keys, Recorded, query_recorded, read_artifact
from pipeline.tracking.runs import read_rows
from pipeline.tracking.store import Store, first_line, store_errors
from pipeline.tracking.write.recorder import Recorder
from pipeline.tracking.write.survey import RunRecord

FILE = "hashes.json"
POINTS = "its metric points"
KEPT: Keys = {"tags": {HASHES_SHA256: "sha256", HOST: "host"}}
NAMED = 5  # damaged runs in one message
REMEDY = "`python -m pipeline doctor --deep --fix` ends it as failed, so that a sweep trains it again"
Hashes = Mapping[str, str]
"""The sha256 of each file by its path (the model's below `model/`), and that of the points under POINTS."""
Models = Mapping[str, Sequence[LoggedModel]]
OF_OURS = f"name = '{MODEL_NAME}'"
logger = logging.getLogger(__name__)


def record_hashes(recorder: Recorder) -> None:
    """Keep the hashes of everything that a run has logged, after the last of it; nothing may be logged later."""
    recorder.flush()
    recorder.log({}, {HASHES_SHA256: recorder.call(keep_hashes, recorder.store, recorder.run_id)})


def keep_hashes(store: Store, run_id: str) -> str:
    """Write the file of hashes for everything that a run has; its sha256, for the tag. Raises what MLflow raises."""
    text = json.dumps(read_hashes(store, store.client.get_run(run_id).info), sort_keys=True, indent=1)
    store.client.log_text(run_id, text, FILE)
    return hashlib.sha256(text.encode()).hexdigest()


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
        return _list_changes(kept, read_hashes(store, run))


def _list_changes(kept: Hashes, found: Hashes) -> list[str]:
    state = {name: "is missing" if name not in found else "is changed" for name in kept} | {POINTS: "are changed"}
    return [f"{name} {state[name]}" for name in sorted(kept) if found.get(name) != kept[name]]


def demand_unchanged(store: Store, experiment_id: str, run_ids: Iterable[str]) -> None:
    """Raise RunsDamaged that names the damaged ones of these runs; warn of those that an earlier version finished."""
    with store_errors(store):
        models = find_models(store, [experiment_id], OF_OURS)
    runs = _read_judged(store, experiment_id, run_ids)
    _refuse_damaged(store, runs.dropna(subset="sha256"), models)
    warn_of_unhashed(int(runs["sha256"].isna().sum()))


def warn_of_unhashed(runs: int) -> None:
    """Say that damage to so many runs cannot be detected, if there are any."""
    if runs:
        logger.warning("%s of an earlier version: no hashes, so damage cannot be detected", count(runs, "run"))


def demand_recorded_metrics(store: Store, experiment_id: str, run_ids: Iterable[str]) -> None:
    """Raise RunsDamaged that names the runs whose metric points are not those that were recorded; hashes no file.

    Runs of an earlier version, and those whose files are out of reach, are not judged.
    """
    _refuse_damaged(store, _read_judged(store, experiment_id, run_ids).dropna(subset="sha256"), None)


def _read_judged(store: Store, experiment_id: str, run_ids: Iterable[str]) -> pd.DataFrame:
    """Of these runs those whose files are in reach: run_id, artifact_uri and the columns of KEPT."""
    rows = read_rows(store, experiment_id, KEPT).set_index("run_id", drop=False)
    rows = rows.loc[[run_id for run_id in run_ids if run_id in rows.index]]
    return rows.loc[[is_in_reach(*place) for place in zip(rows["artifact_uri"], rows["host"], strict=True)]]


def _refuse_damaged(store: Store, runs: pd.DataFrame, models: Models | None) -> None:
    """Raise RunsDamaged where metric points or, given `models`, files of runs are not those that were recorded."""
    parts = (runs[first : first + BATCH] for first in range(0, len(runs), BATCH))
    damaged = [line for part in parts for line in _find_damaged(store, part, models)]
    if damaged:
        more = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
        raise RunsDamaged(f"{', '.join(damaged[:NAMED])}{more}; {REMEDY}")


def _find_damaged(store: Store, runs: pd.DataFrame, models: Models | None) -> Iterator[str]:
    with store_errors(store):
        points = _hash_points(store, list(runs["run_id"]))
    for run in runs.to_dict("records"):
        run_id, place = run["run_id"], run["artifact_uri"]
        kept, wrong = _read_kept(store, run_id, place, run["sha256"])
        found = {POINTS: points[run_id]}
        if models is None:
            kept = {name: value for name, value in kept.items() if name == POINTS}
        else:
            with store_errors(store):
                found |= _hash_run(store, place, models.get(run_id, ()))
        if changes := [wrong] if wrong else _list_changes(kept, found):
            yield f"run {run_id} is damaged: {', '.join(changes)}"


def _read_kept(store: Store, run_id: str, artifact_uri: str, sha256: str) -> tuple[Hashes, str]:
    """The hashes that a run has kept, and what is wrong with their file; raises StoreError where nobody can tell."""
    try:
        content = read_artifact(artifact_uri, FILE, store.uri)
    except NO_MODEL as error:
        with store_errors(store, f"cannot show the files of run {run_id}"):
            there = [] if locate_artifacts(artifact_uri) else list_artifacts(store, artifact_uri, "")
        if FILE in there:  # a server says 500 for what is missing as for what it cannot read now
            raise StoreError(f"the files of run {run_id} cannot be read now ({first_line(error)})") from error
        return {}, f"{FILE} is missing"
    if hashlib.sha256(content).hexdigest() != sha256:
        return {}, f"{FILE} is changed"
    return json.loads(content), ""


def read_hashes(store: Store, run: RunRecord | RunInfo) -> Hashes:
    """The hashes of everything that a run has logged, as they are now; raises what MLflow raises."""
    models = find_models(store, [run.experiment_id], f"{OF_OURS} AND source_run_id = '{run.run_id}'")
    points = _hash_points(store, [run.run_id])[run.run_id]
    return {**_hash_run(store, run.artifact_uri, models.get(run.run_id, ())), POINTS: points}


def _hash_run(store: Store, artifact_uri: str, models: Iterable[LoggedModel]) -> dict[str, str]:
    hashes = {name: value for name, value in _hash_files(store, artifact_uri) if name != FILE}
    for model in models:
        hashes |= {f"{MODEL_NAME}/{name}": value for name, value in _hash_files(store, model.artifact_location)}
    return hashes


def _hash_files(store: Store, uri: str) -> Iterator[tuple[str, str]]:
    """(path, sha256) of every file below an artifact root."""
    with open_folder(store, uri) as folder:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    yield path.relative_to(folder).as_posix(), hashlib.file_digest(file, "sha256").hexdigest()


def _hash_points(store: Store, run_ids: Sequence[str]) -> dict[str, str]:
    """sha256 of every point of a run's metrics with its step, time and value, and of the values that a table shows.

    Empty, which matches no recorded hash, where one of them is not a number.
    """
    if store.database:
        found = query_recorded(store.database, run_ids)
    else:
        found = {run_id: _ask_recorded(store, run_id) for run_id in run_ids}
    return {run_id: _hash_recorded(recorded) for run_id, recorded in found.items()}


def _hash_recorded(recorded: Recorded) -> str:
    points, latest = recorded
    try:
        rows = sorted([name, step, moment, repr(float(value))] for name, step, moment, value in points)
        shown = sorted([name, repr(float(value))] for name, value in latest.items())
        content = json.dumps([rows, shown])
    except (TypeError, ValueError):
        return ""
    return hashlib.sha256(content.encode()).hexdigest()


def _ask_recorded(store: Store, run_id: str) -> Recorded:
    """What query_recorded finds of one run, through MLflow."""
    latest = store.client.get_run(run_id).data.metrics
    points = (point for name in latest for point in store.client.get_metric_history(run_id, name))
    return {(point.key, point.step, point.timestamp, point.value) for point in points}, latest
