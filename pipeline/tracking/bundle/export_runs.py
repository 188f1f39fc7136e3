"""Read an experiment's trainings into a bundle: everything that the store holds of them, and their files."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from mlflow.entities import DatasetInput, LoggedModel, Metric, Run

from pipeline.errors import StoreError
from pipeline.study import tags
from pipeline.tracking.bundle.archive import BundleWriter
from pipeline.tracking.bundle.manifest import OUTCOMES, BundledInput, BundledModel, BundledRun, Manifest, Point
from pipeline.tracking.files.artifacts import EVIDENCE_FILES, find_models, open_folder
from pipeline.tracking.files.hashes import demand_unchanged
from pipeline.tracking.frozen import FROZEN, FROZEN_AT
from pipeline.tracking.process import PREFIX
from pipeline.tracking.runs import damaged_point, read_pages
from pipeline.tracking.store import Store, find_experiment, store_errors

EVIDENCE_TAGS = (
    *(tags.KIND, tags.VARIANT, tags.TWIN, tags.OUTCOME, tags.REASON, tags.ATTEMPT, tags.EPOCH),
    *(tags.FINGERPRINT, tags.WEIGHTS_SHA256, tags.DATA_SHA256, tags.GIT_DIRTY, tags.COMMIT, tags.RUN_NAME),
)
ELSEWHERE = "elsewhere"
"""Stands for the machine of evidence: how long a run took there says nothing about another one."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What of an experiment goes into a bundle.

    `every` takes killed and failed trainings too, `seeds` names those to take (None for all). `evidence` takes only
    what a verdict can be computed from again, without models and figures, and without a word on the machine: params,
    metrics, EVIDENCE_TAGS and EVIDENCE_FILES. An imported run of it counts as finished; whoever needs its model has to
    train it again.
    """

    every: bool = False
    seeds: Collection[int] | None = None
    evidence: bool = False


def export_experiment(store: Store, name: str, bundle: BundleWriter, wanted: Wanted) -> Manifest:
    """Read what is `wanted` of an experiment's trainings into a bundle.

    The files are written as they are read. Raises StoreError where there is no such run, or one that is damaged.
    """
    experiment_id = find_experiment(store, name)
    with store_errors(store):
        experiment = store.client.get_experiment(experiment_id)
        runs = [run for run in search_kind(store, experiment_id, "train") if _is_wanted(run, wanted)]
        if not runs:
            raise StoreError(
                f'no {"ended" if wanted.every else "finished"} run in "{experiment.name}"; train one first'
            )
        demand_unchanged(store, experiment_id, (run.info.run_id for run in runs))
        runs.sort(key=lambda run: (run.info.start_time, find_origin(run)))
        if wanted.evidence:
            kept = {FROZEN, FROZEN_AT} & set(experiment.tags)
            read = [_read_evidence(store, run, bundle) for run in runs]
        else:
            kept = {key for key in experiment.tags if not key.startswith(PREFIX)}
            models = find_models(store, [experiment_id])
            read = [_read_run(store, run, models.get(run.info.run_id, ()), bundle) for run in runs]
        said = {key: experiment.tags[key] for key in kept}
        return Manifest(experiment=experiment.name, tags=said, runs=tuple(read))


def search_kind(store: Store, experiment_id: str, kind: str) -> list[Run]:
    """The runs of one kind that are not deleted."""
    return list(read_pages(store.client.search_runs, [experiment_id], f"tags.kind = '{kind}'"))


def _is_wanted(run: Run, wanted: Wanted) -> bool:
    outcome, status = run.data.tags.get(tags.OUTCOME), run.info.status
    if wanted.seeds is not None and run.data.params.get("seed") not in map(str, wanted.seeds):
        return False
    if wanted.every:
        return outcome in OUTCOMES and status.lower() in OUTCOMES
    return (outcome, status) == ("finished", "FINISHED")


def find_origin(run: Run) -> str:
    """The id that a run had in its first store."""
    return str(run.data.tags.get(tags.ORIGIN, run.info.run_id))


def _read_run(store: Store, run: Run, models: Iterable[LoggedModel], bundle: BundleWriter) -> BundledRun:
    steps = {output.model_id: output.step for output in (run.outputs.model_outputs if run.outputs else ())}
    ready = [model for model in models if str(model.status) == "READY"]
    ready.sort(key=lambda model: (model.name, steps.get(model.model_id, 0), model.creation_timestamp))
    with open_folder(store, run.info.artifact_uri) as folder:
        files = bundle.add_folder(folder)
    return replace(
        _read_facts(store, run),
        inputs=tuple(map(_describe_input, run.inputs.dataset_inputs if run.inputs else ())),
        files=files,
        models=tuple(_read_model(store, model, steps.get(model.model_id, 0), bundle) for model in ready),
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
    kept = {name: value for name, value in run.data.tags.items() if name in EVIDENCE_TAGS}
    return replace(_read_facts(store, run), tags=kept | {tags.HOST: ELSEWHERE, tags.EVIDENCE: "only"}, files=files)


def _read_facts(store: Store, run: Run) -> BundledRun:
    points = (store.client.get_metric_history(run.info.run_id, key) for key in run.data.metrics)
    return BundledRun(
        run_id=find_origin(run),
        status=run.info.status,
        started=run.info.start_time,
        ended=run.info.end_time or run.info.start_time,
        params=run.data.params,
        tags={key: value for key, value in run.data.tags.items() if key != tags.ORIGIN},
        metrics=_list_points(run.info.run_id, chain.from_iterable(points)),
    )


def _read_model(store: Store, model: LoggedModel, step: int, bundle: BundleWriter) -> BundledModel:
    """One model with its files; raises StoreError where they are gone."""
    with open_folder(store, model.artifact_location) as folder:
        files = bundle.add_folder(folder)
    if not files:
        raise StoreError(f"the model of run {model.source_run_id} has no files; `python -m pipeline doctor` tells more")
    return BundledModel(
        name=model.name,
        model_type=model.model_type or "",
        step=step,
        params=model.params,
        tags=model.tags,
        metrics=_list_points(model.source_run_id, model.metrics or ()),
        files=files,
    )


def _list_points(run_id: str, metrics: Iterable[Metric]) -> Mapping[str, tuple[Point, ...]]:
    """The points of each metric in order; a store may tell one twice. Raises RunsDamaged."""
    points: dict[str, set[Point]] = {}
    for metric in metrics:
        try:
            point = int(metric.step), int(metric.timestamp), repr(float(metric.value))
        except (TypeError, ValueError):
            raise damaged_point(run_id, metric.key) from None
        points.setdefault(metric.key, set()).add(point)
    return {key: tuple(sorted(found)) for key, found in points.items()}


def _describe_input(given: DatasetInput) -> BundledInput:
    names = ("name", "digest", "source_type", "source", "schema", "profile")
    said = {name: getattr(given.dataset, name) or "" for name in names}
    return BundledInput(**said, tags={tag.key: tag.value for tag in given.tags})
