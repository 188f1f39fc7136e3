"""Write the runs of a bundle into the store, each once.

A run that is being imported has the kind `import` until everything of it is there; the last write makes it a training.
What an import that was killed has left is therefore known, and made again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag
from mlflow.entities import Experiment as ExperimentEntity

from pipeline.errors import CellTaken, StoreError
from pipeline.faults import fault_point
from pipeline.study.tags import (
    EVIDENCE,
    FINGERPRINT,
    HASHES_SHA256,
    KIND,
    ORIGIN,
    OUTCOME,
    RUN_NAME,
    USER,
    WEIGHTS_SHA256,
)
from pipeline.tracking.bundle.archive import BundleReader
from pipeline.tracking.bundle.export_runs import find_origin, search_kind
from pipeline.tracking.bundle.manifest import BundledInput, BundledModel, BundledRun, BundleError, Point
from pipeline.tracking.files.hashes import keep_hashes
from pipeline.tracking.frozen import FROZEN, FROZEN_AT
from pipeline.tracking.mlflow_internals import set_artifact_root
from pipeline.tracking.process import hold_lease, identify_process
from pipeline.tracking.store import Store, find_experiment, store_errors
from pipeline.tracking.values import read_texts

IMPORT = "import"
FINAL_TAGS = (KIND, OUTCOME)  # they make a run a training and a result


def import_bundle(store: Store, bundle: BundleReader, into: str = "") -> Iterator[tuple[BundledRun, str, bool]]:
    """Write the runs of a bundle that are not there into the experiment `into`, by default the bundle's own.

    Gives every run of the bundle with its id in this store, and whether it is new there. Raises StoreError where the
    experiment has frozen other claims, or another process imports into it.
    """
    manifest, name = bundle.manifest, into or bundle.manifest.experiment
    with store_errors(store):
        _check_frozen(store.client.get_experiment_by_name(name), manifest.tags)
    experiment_id = find_experiment(store, name, create=True)
    try:
        with store_errors(store), hold_lease(store, experiment_id, "bundle"):
            _merge_tags(store, experiment_id, manifest.tags)
            _delete_halves(store, experiment_id)
            known = {
                key: run.info.run_id
                for run in search_kind(store, experiment_id, "train")
                for key in (run.info.run_id, *_identify(find_origin(run), run.data.tags))
            }
            for run in manifest.runs:
                there = next((known[key] for key in _identify(run.run_id, run.tags) if key in known), "")
                run_id = there or _write_run(store, experiment_id, run, bundle)
                known |= dict.fromkeys(_identify(run.run_id, run.tags), run_id)
                yield run, run_id, not there
    except CellTaken as error:
        raise StoreError(
            f'another process imports into "{name}" at this moment; start again when it has ended'
        ) from error


def _check_frozen(experiment: ExperimentEntity | None, tags: Mapping[str, str]) -> None:
    """Raise StoreError if an experiment has frozen other claims than a bundle: no verdict could hold for both."""
    if experiment is None or FROZEN not in experiment.tags or FROZEN not in tags:
        return
    try:
        plan = json.loads(tags[FROZEN])
    except (ValueError, RecursionError) as error:
        raise BundleError(f"the bundle's tag {FROZEN} cannot be read; export it again") from error
    if read_texts(experiment.tags[FROZEN]) != plan:
        raise StoreError(
            f'the experiment "{experiment.name}" has frozen other claims than the bundle; '
            "import it into one of another name with --into NAME"
        )


def _merge_tags(store: Store, experiment_id: str, tags: Mapping[str, str]) -> None:
    """Set the tags that an experiment has not; of one plan that two stores froze the earlier moment holds."""
    with store.lock:
        present = store.client.get_experiment(experiment_id).tags
        frozen = FROZEN in tags and FROZEN in present and tags.get(FROZEN_AT, "") < present.get(FROZEN_AT, "")
        for key in sorted(set(tags) - set(present) | ({FROZEN_AT} & set(tags) if frozen else set())):
            store.client.set_experiment_tag(experiment_id, key, tags[key])


def _delete_halves(store: Store, experiment_id: str) -> None:
    """Delete what an import that was killed has left; nobody else imports, the lease is held."""
    for run in search_kind(store, experiment_id, IMPORT):
        run_id = run.info.run_id
        for model in store.client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"):
            store.client.delete_logged_model(model.model_id)
        store.client.delete_run(run_id)


def _identify(origin: str, tags: Mapping[str, str]) -> list[object]:
    """A run is known by its first id; a finished one also by its cell and the weights that it gave."""
    cell = (tags.get(FINGERPRINT), tags.get(WEIGHTS_SHA256))
    return [origin, cell] if tags.get(OUTCOME) == "finished" and all(cell) else [origin]


def _write_run(store: Store, experiment_id: str, run: BundledRun, bundle: BundleReader) -> str:
    """Write one run, of the kind `import` until its last write; its id."""
    client = store.client
    begun = {KIND: IMPORT, OUTCOME: "running", ORIGIN: run.run_id, **identify_process()}
    tags = {**begun, **({USER: run.tags[USER]} if USER in run.tags else {})}
    run_id = str(client.create_run(experiment_id, run.started, tags, run.tags.get(RUN_NAME)).info.run_id)
    set_artifact_root(store.database, experiment_id, run_id)
    fault_point("import-begun")
    client.log_batch(run_id, params=[Param(*param) for param in run.params.items()])
    _log_points(store, run_id, run.metrics)
    if run.inputs:
        client.log_inputs(run_id, list(map(_make_input, run.inputs)))
    with tempfile.TemporaryDirectory() as copies:
        if run.files:
            bundle.unpack(run.files, Path(copies) / "run")
            client.log_artifacts(run_id, str(Path(copies) / "run"))
        fault_point("import-files")
        for number, model in enumerate(run.models):
            folder = Path(copies) / f"model-{number}"
            bundle.unpack(model.files, folder)
            _write_model(store, (experiment_id, run_id), model, folder)
    client.set_terminated(run_id, run.status, run.ended)
    fault_point("import-terminated")
    for key in sorted(set(begun) - set(run.tags) - {ORIGIN}):
        client.delete_tag(run_id, key)
    kept = {HASHES_SHA256: keep_hashes(store, run_id)} if EVIDENCE in run.tags else {}  # its own had all files
    tags = {name: value for name, value in run.tags.items() if name not in FINAL_TAGS} | kept
    client.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.items()])
    fault_point("import-tagged")
    client.log_batch(run_id, tags=[RunTag(key, run.tags[key]) for key in FINAL_TAGS])
    return run_id


def _write_model(store: Store, owner: tuple[str, str], model: BundledModel, folder: Path) -> None:
    """Write a model as a logged model of its own, of an (experiment, run), its files byte for byte."""
    experiment_id, run_id = owner
    made = store.client.create_logged_model(
        experiment_id, model.name, run_id, dict(model.tags), dict(model.params), model.model_type or None
    )
    fault_point("import-model")
    store.client.log_outputs(run_id, [LoggedModelOutput(made.model_id, model.step)])
    _log_points(store, run_id, model.metrics, made.model_id)
    store.client.log_model_artifacts(made.model_id, str(folder))
    store.client.finalize_logged_model(made.model_id, "READY")


def _log_points(store: Store, run_id: str, metrics: Mapping[str, tuple[Point, ...]], model_id: str = "") -> None:
    """Write points at their own steps and times, also as a model's; MLflow makes several requests of very many."""
    points = [
        Metric(key, float(value), timestamp, step, model_id=model_id or None, run_id=run_id if model_id else None)
        for key, history in metrics.items()
        for step, timestamp, value in history
    ]
    store.client.log_batch(run_id, metrics=points)


def _make_input(given: BundledInput) -> DatasetInput:
    dataset = Dataset(
        given.name, given.digest, given.source_type, given.source, given.schema or None, given.profile or None
    )
    return DatasetInput(dataset, [InputTag(*tag) for tag in given.tags.items()])
