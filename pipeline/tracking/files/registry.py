"""The runs whose network is for use, and MLflow's model registry: which of them is the champion."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.data.likeness import Sample
from pipeline.errors import StoreError
from pipeline.images import Images, restore_images
from pipeline.plain import escape_controls
from pipeline.study.facts import OWN_FILE, format_options, restore_row, restore_settings
from pipeline.study.tags import DATA_INK, EVIDENCE, KIND, MODEL_INPUT, ORIGIN, OUTCOME, PIXELS, VARIANT, WEIGHTS_SHA256
from pipeline.tracking.files.artifacts import MODEL_NAME, NO_MODEL, SAMPLE_NAME
from pipeline.tracking.frozen import FROZEN
from pipeline.tracking.mlflow_internals import read_artifact
from pipeline.tracking.runs import read_pages, read_runs
from pipeline.tracking.store import Store, store_errors
from pipeline.tracking.values import read_texts

CHAMPION = "champion"
CARD = "model_card.md"
DESCRIPTION_LIMIT = 5000
CUT = f"\n\n(cut; the whole is the run's artifact `{CARD}`)"
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A training that was completed; `facts` are its other params and tags."""

    run_id: str
    variant: str
    seed: int
    epochs: int
    normalization: str
    weights_sha256: str
    facts: Mapping[str, str]

    @property
    def ink(self) -> str:
        """What the training images look like: "light" on dark, "dark" on light, or "none"; once all had light."""
        return self.facts.get(DATA_INK, "light")

    @property
    def takes_pixels(self) -> bool:
        """Whether the logged model normalises its input."""
        return self.facts.get(MODEL_INPUT) == PIXELS


def find_run(store: Store, run_id: str) -> FinishedRun:
    """The training run with this id, or with it imported, with a model; raises StoreError unless it finished."""
    run = find_finished(store, run_id)
    if EVIDENCE in run.facts:
        again = format_options(restore_row(run.facts).name, restore_settings(run.facts), OWN_FILE)
        experiment_id = store.client.get_run(run.run_id).info.experiment_id
        name = shlex.quote(store.client.get_experiment(experiment_id).name)
        raise StoreError(
            f"run {run_id} came as evidence only, without its model; "
            f"`mlflow run . --env-manager local --experiment-name {name} {again}` trains it again"
        )
    return run


def find_finished(store: Store, run_id: str) -> FinishedRun:
    """As `find_run`, but its model may be missing: evidence has none."""
    with store_errors(store):
        run = _look_up(store.client.get_run, run_id) or _look_up_imported(store, run_id)
    if run is None:
        raise StoreError(f'no run "{run_id}" in the store; `python -m pipeline ui` shows the ids')
    tags = run.data.tags
    if tags.get(KIND) != "train" or tags.get(OUTCOME) != "finished":
        state = tags.get(OUTCOME, "unknown") if tags.get(KIND) == "train" else "no training"
        raise StoreError(f"run {run_id} is not a finished training (it is {state}); name another")
    return _describe_run(run)


def find_newest(store: Store, experiment_id: str, variant: str) -> FinishedRun:
    """The newest finished run of a variant in an experiment, whatever its scores; raises StoreError."""
    runs = read_runs(store, experiment_id)
    own = runs[(runs["variant"] == variant) & (runs["outcome"] == "finished")]
    if not own["evidence"].all():
        own = own[own["evidence"] == ""]
    if own.empty:
        name = escape_controls(store.client.get_experiment(experiment_id).name)
        raise StoreError(f'no finished run of {variant} in the experiment "{name}"; train it, or name another')
    return find_run(store, str(own.sort_values(["ended", "run_id"])["run_id"].iloc[-1]))


def find_champion(store: Store, model: str) -> tuple[int, FinishedRun]:
    """(version, its run) of the registered model's champion; raises StoreError."""
    version = _look_up_champion(store, model)
    if version is None:
        raise StoreError(
            f'the store has no champion of the model "{model}"; promote one with `python -m pipeline promote`, '
            "or name a run with --run or a variant with --variant"
        )
    run = find_run(store, version.run_id or "")
    if version.source != _find_model_uri(store, run.run_id):
        raise StoreError(f"version {version.version} of {model} is not the model of its run; promote it again")
    return int(version.version), run


def has_claims(store: Store, experiment_id: str) -> bool:
    """Whether an experiment's frozen plan has claims, or cannot be read."""
    hashes = read_texts(store.client.get_experiment(experiment_id).tags.get(FROZEN, "{}"))
    return hashes is None or any(hashes)


def read_versions(store: Store, run_id: str) -> dict[str, str]:
    """The versions of the main packages that a run was trained with."""
    with _open_artifact(store, run_id, "environment.json") as file:
        return dict(json.load(file)["versions"])


def count_test_images(store: Store, run_id: str) -> int:
    """How many test images a run predicted."""
    with _open_artifact(store, run_id, "predictions.npz") as file, np.load(file, allow_pickle=False) as predictions:
        return len(predictions["label"])


def read_images(store: Store, run_id: str) -> Images:
    """What the images of a run are, with the classes' names; raises StoreError."""
    with _open_artifact(store, run_id, "config.json") as file:
        return restore_images(json.load(file))


def read_sample(store: Store, run_id: str, images: Images) -> Sample | None:
    """Some of a run's training images; None for a run of an earlier version, which has logged none.

    Raises StoreError where they are not such `images`.
    """
    if not any(file.path == SAMPLE_NAME for file in store.client.list_artifacts(run_id)):
        return None
    with _open_artifact(store, run_id, SAMPLE_NAME) as file, np.load(file, allow_pickle=False) as arrays:
        sample = Sample(images=arrays["images"], usual=float(arrays["usual"]))
        if sample.images.dtype != np.uint8 or sample.images.shape[1:] != images.raw_shape:
            raise ValueError("other images than the run's")
        return sample


@contextmanager
def _open_artifact(store: Store, run_id: str, path: str) -> Iterator[BytesIO]:
    """A run's file; what a damaged one raises in the block becomes StoreError."""
    try:
        yield BytesIO(read_artifact(store.client.get_run(run_id).info.artifact_uri, path, store.uri))
    except NO_MODEL as error:
        raise StoreError(f"{path} of run {run_id} is damaged; train it again") from error


def register_champion(store: Store, model: str, run: FinishedRun, card: str) -> tuple[int, bool]:
    """(version, whether it is a new one) of a run's model as champion, with its card; raises StoreError.

    The card becomes the version's description and the run's artifact. What is champion already stays that version.
    """
    uri = _find_model_uri(store, run.run_id)
    description = card if len(card) <= DESCRIPTION_LIMIT else card[: DESCRIPTION_LIMIT - len(CUT)] + CUT
    with store_errors(store, "refused the model"):
        store.client.log_text(run.run_id, card, CARD)
        champion = _look_up_champion(store, model)
        new = champion is None or champion.source != uri
        if champion is None or new:
            champion = _create_version(store, model, uri, run)
        store.client.update_model_version(model, champion.version, description)
        store.client.set_registered_model_alias(model, CHAMPION, champion.version)
    return int(champion.version), new


def _create_version(store: Store, model: str, uri: str, run: FinishedRun) -> ModelVersion:
    with store.lock:
        if _look_up(store.client.get_registered_model, model) is None:
            store.client.create_registered_model(model)
    tags = {VARIANT: run.variant, "seed": str(run.seed), WEIGHTS_SHA256: run.weights_sha256}
    model_id = uri.rpartition("/")[2]
    return store.client.create_model_version(model, uri, run_id=run.run_id, tags=tags, model_id=model_id)


def _look_up_champion(store: Store, model: str) -> ModelVersion | None:
    with store_errors(store):
        return _look_up(store.client.get_model_version_by_alias, model, CHAMPION)


def _look_up(question: Callable[..., Any], *names: str) -> Any:
    """What the store has of these names, None where it has nothing."""
    try:
        return question(*names)
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        return None


def _look_up_imported(store: Store, run_id: str) -> Run | None:
    """The run that was imported from the one with this id, which published results name; None where there is none."""
    if not re.fullmatch("[0-9a-f]{32}", run_id):
        return None
    experiments = [each.experiment_id for each in read_pages(store.client.search_experiments)]
    return next(read_pages(store.client.search_runs, experiments, f"tags.`{ORIGIN}` = '{run_id}'"), None)


def _find_model_uri(store: Store, run_id: str) -> str:
    """The address of the model that a run has logged, models:/m-...; raises StoreError."""
    experiment_id = store.client.get_run(run_id).info.experiment_id
    found = store.client.search_logged_models([experiment_id], f"source_run_id = '{run_id}' AND name = '{MODEL_NAME}'")
    if len(found) != 1:
        raise StoreError(f"run {run_id} has {len(found)} logged models, not one; train it again")
    return str(found[0].model_uri)


def _describe_run(run: Run) -> FinishedRun:
    """The facts of a run; raises StoreError where it lacks what its network cannot be used without."""
    params, tags = (
        {name: escape_controls(text) for name, text in part.items()} for part in (run.data.params, run.data.tags)
    )
    try:
        return FinishedRun(
            run_id=run.info.run_id,
            variant=tags[VARIANT],
            seed=int(params["seed"]),
            epochs=int(params["epochs"]),
            normalization=params["normalization"],
            weights_sha256=tags[WEIGHTS_SHA256],
            facts={**params, **tags},
        )
    except (KeyError, ValueError) as error:
        raise StoreError(f"run {run.info.run_id} lacks what describes it ({error}); train it again") from error
