"""Read an experiment's trainings into a bundle: everything that the store holds of them, and their files."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from mlflow.entities import DatasetInput, LoggedModel, Metric, Run

from pipeline.errors import StoreError
from pipeline.study.tags import ORIGIN, OUTCOME
from pipeline.tracking.bundle.archive import BundleWriter
from pipeline.tracking.bundle.evidence import EXPERIMENT_TAGS, pick_tags
from pipeline.tracking.bundle.manifest import (
    FORMAT,
    LEASE,
    OUTCOMES,
    STATUSES,
    BundledFile,
    BundledInput,
    BundledModel,
    BundledRun,
    Manifest,
    Point,
)
from pipeline.tracking.files.artifacts import EVIDENCE_FILES, locate_artifacts
from pipeline.tracking.files.hashes import demand_unchanged
from pipeline.tracking.mlflow_internals import open_artifacts
from pipeline.tracking.store import Store, find_experiment, store_errors
from pipeline.tracking.write.survey import PAGE, read_pages


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What of an experiment goes into a bundle.

    `every` takes killed and failed trainings too, `seeds` names those to take (None for all), `evidence` leaves out
    what no verdict needs.
    """

    every: bool = False
    seeds: Collection[int] | None = None
    evidence: bool = False


def export_experiment(store: Store, name: str, bundle: BundleWriter, wanted: Wanted | None = None) -> Manifest:
    """Read the finished trainings of an experiment into a bundle, or what is `wanted`.

    The files are written as they are read. Raises StoreError where there is no such run, or one that is damaged.
    """
    wanted = wanted or Wanted()
    experiment_id = find_experiment(store, name)
    with store_errors(store):
        experiment = store.client.get_experiment(experiment_id)
        runs = [run for run in search_kind(store, experiment_id, "train") if _is_wanted(run, wanted)]
        if not runs:
            raise StoreError(
                f'no {"ended" if wanted.every else "finished"} run in "{experiment.name}"; train one first'
            )
        demand_unchanged(store, experiment_id, (run.info.run_id for run in runs))
        models = {} if wanted.evidence else _read_models(store, experiment_id)
        runs.sort(key=lambda run: (run.info.start_time, find_origin(run)))
        return Manifest(
            format=FORMAT,
            experiment=experiment.name,
            tags={
                key: value
                for key, value in experiment.tags.items()
                if (key in EXPERIMENT_TAGS if wanted.evidence else not key.startswith(LEASE))
            },
            runs=tuple(
                _read_evidence(store, run, bundle)
                if wanted.evidence
                else _read_run(store, run, models.get(run.info.run_id, []), bundle)
                for run in runs
            ),
        )


def search_kind(store: Store, experiment_id: str, kind: str) -> list[Run]:
    """The runs of one kind that are not deleted."""
    wanted = f"tags.kind = '{kind}'"
    search = store.client.search_runs
    return read_pages(lambda token: search([experiment_id], wanted, max_results=PAGE, page_token=token))


def _read_models(store: Store, experiment_id: str) -> dict[str, list[LoggedModel]]:
    """Run id -> the models that it logged and that are ready."""
    search = store.client.search_logged_models
    models: dict[str, list[LoggedModel]] = {}
    for model in read_pages(lambda token: search([experiment_id], max_results=PAGE, page_token=token)):
        if str(model.status) == "READY":
            models.setdefault(model.source_run_id, []).append(model)
    return models


def _is_wanted(run: Run, wanted: Wanted) -> bool:
    """Whether a training is to be exported."""
    outcome, status = run.data.tags.get(OUTCOME), run.info.status
    if wanted.seeds is not None and run.data.params.get("seed") not in map(str, wanted.seeds):
        return False
    return (outcome, status) == ("finished", "FINISHED") or (
        wanted.every and outcome in OUTCOMES and status in STATUSES
    )


def find_origin(run: Run) -> str:
    """The id that a run had in its first store."""
    return str(run.data.tags.get(ORIGIN, run.info.run_id))


def _read_run(store: Store, run: Run, models: Sequence[LoggedModel], bundle: BundleWriter) -> BundledRun:
    """Everything of one run."""
    steps = {output.model_id: output.step for output in (run.outputs.model_outputs if run.outputs else ())}
    by_name = sorted(models, key=lambda model: (model.name, steps.get(model.model_id, 0), model.creation_timestamp))
    return replace(
        _read_facts(store, run),
        inputs=tuple(map(_describe_input, run.inputs.dataset_inputs if run.inputs else ())),
        files=_add_files(store, run.info.artifact_uri, bundle),
        models=tuple(_read_model(store, model, steps.get(model.model_id, 0), bundle) for model in by_name),
    )


def _read_evidence(store: Store, run: Run, bundle: BundleWriter) -> BundledRun:
    """What a verdict can be computed from again; raises StoreError where a file of it is missing."""
    client, run_id = store.client, run.info.run_id
    there = {file.path for file in client.list_artifacts(run_id)}
    if missing := [name for name in EVIDENCE_FILES if name not in there]:
        raise StoreError(
            f"run {run_id} has no {', '.join(missing)}; delete it (`mlflow runs delete --run-id {run_id}`)"
        )
    with tempfile.TemporaryDirectory() as folder:
        for name in EVIDENCE_FILES:
            client.download_artifacts(run_id, name, folder)
        files = bundle.add_folder(Path(folder))
    return replace(_read_facts(store, run), tags=pick_tags(run.data.tags), files=files)


def _read_facts(store: Store, run: Run) -> BundledRun:
    """One run without its files."""
    points = (store.client.get_metric_history(run.info.run_id, key) for key in run.data.metrics)
    return BundledRun(
        run_id=find_origin(run),
        status=run.info.status,
        started=run.info.start_time,
        ended=run.info.end_time or run.info.start_time,
        params=run.data.params,
        tags={key: value for key, value in run.data.tags.items() if key != ORIGIN},
        metrics=_list_points(chain.from_iterable(points)),
        inputs=(),
        files=(),
        models=(),
    )


def _read_model(store: Store, model: LoggedModel, step: int, bundle: BundleWriter) -> BundledModel:
    """Everything of one model; raises StoreError where its files are gone."""
    files = _add_files(store, model.artifact_location, bundle)
    if not files:
        raise StoreError(f"the model of run {model.source_run_id} has no files; `python -m pipeline doctor` tells more")
    return BundledModel(
        name=model.name,
        model_type=model.model_type or "",
        step=step,
        params=model.params,
        tags=model.tags,
        metrics=_list_points(model.metrics or ()),
        files=files,
    )


def _list_points(metrics: Iterable[Metric]) -> Mapping[str, tuple[Point, ...]]:
    """The points of each metric in order; a store may tell one twice."""
    points: dict[str, set[Point]] = {}
    for metric in metrics:
        points.setdefault(metric.key, set()).add((metric.step, metric.timestamp, repr(float(metric.value))))
    return {key: tuple(sorted(found)) for key, found in points.items()}


def _describe_input(given: DatasetInput) -> BundledInput:
    """A data set that a run was trained on."""
    dataset = given.dataset
    return BundledInput(
        name=dataset.name,
        digest=dataset.digest,
        source_type=dataset.source_type,
        source=dataset.source,
        schema=dataset.schema or "",
        profile=dataset.profile or "",
        tags={tag.key: tag.value for tag in given.tags},
    )


def _add_files(store: Store, uri: str, bundle: BundleWriter) -> tuple[BundledFile, ...]:
    """Every file below an artifact root, from where it lies or through a download."""
    folder = locate_artifacts(uri)
    if folder is not None:
        return bundle.add_folder(folder)
    repository = open_artifacts(uri, tracking_uri=store.uri)
    with tempfile.TemporaryDirectory() as copies:
        if repository.list_artifacts():
            repository.download_artifacts("", copies)
        return bundle.add_folder(Path(copies))
