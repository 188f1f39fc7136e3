"""Write one run to MLflow: adopt or create it, log it as it trains, and say how it ended."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, Param
from mlflow.tracking.context.registry import resolve_tags

from pipeline import interrupts
from pipeline.errors import PipelineError, RunKilled, StoreAway, StoreError
from pipeline.study.settings import Settings
from pipeline.study.variants import Variant
from pipeline.tracking.description import describe_settings, describe_variant
from pipeline.tracking.environment import describe_environment, identify_process, read_source
from pipeline.tracking.journal import Journal
from pipeline.tracking.store import (
    STORE_ERRORS,
    Store,
    find_experiment,
    first_line,
    is_away,
    mend_artifact_root,
    project_root,
)
from pipeline.training.observer import Kernels, Observer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pipeline.data.mnist import Dataset

RANDOM_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")
TAG_LIMIT = 5000
REQUEST = "request.id"


class Recorder(Observer):
    """One run in the store; as an observer it logs a training while it goes on."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.client = store.client
        self.run_id = run_id
        self.journal = Journal(store, run_id)
        self.insist = self.journal.insist

    def begin_training(self, summary: str, runtime: Mapping[str, object]) -> None:
        """Log the model summary and the environment."""
        self.insist(self.client.log_dict, self.run_id, describe_environment(runtime), "environment.json")
        self.insist(self.client.log_text, self.run_id, summary, "model_summary.txt")

    def end_epoch(self, epoch: int, metrics: Mapping[str, float], ended: int | None = None) -> None:
        """Log all metrics of an epoch in one write, which no signal cuts in two."""
        with interrupts.shield():
            self.log(metrics, {"heartbeat": _now(), "epoch": str(epoch)}, step=epoch, timestamp=ended)

    def show_kernels(self, epoch: int, kernels: Kernels) -> None:
        """Log the three violins as a step image, for the slider of MLflow's image grid."""
        from pipeline.report.figures import plot_weights  # imports seaborn, which only a training draws with
        from pipeline.report.render import render_png, shrink_png

        png = render_png(plot_weights(kernels, epoch))
        with interrupts.shield():
            self.journal.log_image("weights", epoch, {".png": png, "+compressed.webp": shrink_png(png)})

    def log_figures(self, drawn: Iterable[tuple[str, Figure]]) -> None:
        """Log every (name, figure) as figures/NAME.png."""
        from pipeline.report.render import render_png  # imports matplotlib

        with tempfile.TemporaryDirectory() as folder:
            for name, figure in drawn:
                interrupts.check()
                Path(folder, f"{name}.png").write_bytes(render_png(figure))
            self.insist(self.client.log_artifacts, self.run_id, folder, "figures")

    def log(
        self, metrics: Mapping[str, float], tags: Mapping[str, str], step: int = 0, timestamp: int | None = None
    ) -> None:
        """Log metrics at one step and set tags, in one write; `timestamp` in milliseconds since 1970, else now."""
        self.journal.log(metrics, tags, step, timestamp or int(datetime.now(UTC).timestamp() * 1000))

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log what is not there yet: `mlflow run` has logged its own parameters, as they were typed."""
        present = self.insist(self.client.get_run, self.run_id).data.params
        missing = [Param(name, str(value)) for name, value in params.items() if name not in present]
        self.insist(self.client.log_batch, self.run_id, params=missing)

    def log_source(self, variant: Variant, settings: Settings) -> None:
        """Log the whole configuration, the git commit and the diff of a dirty checkout."""
        config = {**describe_settings(settings), **describe_variant(variant)}
        self.log_params(config)
        self.insist(self.client.log_dict, self.run_id, config, "config.json")
        commit, changes, diff = read_source(project_root())
        self.log({}, {"mlflow.source.git.commit": commit, "git.dirty": str(bool(changes))} if commit else {})
        if changes:
            self.insist(self.client.log_text, self.run_id, f"{changes}\n{diff}", "git.diff")

    def log_dataset(self, dataset: Dataset) -> None:
        """Log what is trained and tested on, with the sha256 of its contents, as MLflow's dataset input."""
        facts = {"train": len(dataset.y_train), "test": len(dataset.y_test), "sha256": dataset.sha256}
        entity = DatasetEntity(
            name=dataset.name,
            digest=dataset.sha256[:36],  # MLflow's limit; the whole hash is in the profile and in a tag
            source_type="local",
            source=f'{{"uri": "{dataset.name}"}}',
            schema='{"images": "uint8 (N, 28, 28)", "labels": "uint8 (N,)"}',
            profile=str(facts).replace("'", '"'),
        )
        inputs = [DatasetInput(entity, [InputTag("mlflow.data.context", "training")])]
        try:
            self.insist(self.client.log_inputs, self.run_id, inputs)
        except STORE_ERRORS:  # another run logged the same data at the same moment, and MLflow keeps them once
            self.insist(self.client.log_inputs, self.run_id, inputs)
        self.log_params({"data-sha256": dataset.sha256, "data-name": dataset.name})
        self.log({}, {"data.sha256": dataset.sha256, "data.source": dataset.source, "data.ink": dataset.ink})

    def end(self, outcome: str, reason: str, status: str) -> None:
        """Say how the run ended, in tags of our own: `mlflow run` overwrites the status."""
        with interrupts.shield(then_check=False):
            self.log({}, {"outcome": outcome, "outcome.reason": reason[:TAG_LIMIT], "heartbeat": _now()})
            self.journal.end(status)


@contextmanager
def record_run(store: Store, variant: Variant, settings: Settings) -> Iterator[Recorder]:
    """The recorder of a training: its run has the variant's name and ends with the block."""
    with open_run(store, f"{variant.name}-s{settings.seed}", "train") as recorder:
        recorder.log({}, {"variant": variant.name, "twin": variant.twin or "none", "attempt": "1"})
        yield recorder


@contextmanager
def open_run(store: Store, name: str, kind: str, experiment_id: str = "") -> Iterator[Recorder]:
    """The recorder of the launcher's run, or of a new one; the run ends with the block, whatever ends it."""
    with ExitStack() as stack:
        with interrupts.shield(then_check=False):  # no signal comes between a run and the guard that ends it
            run_id = os.environ.pop("MLFLOW_RUN_ID", "") or _create_run(store, name, experiment_id)
            recorder = Recorder(store, run_id)
            stack.enter_context(end_with_reason(recorder))
        interrupts.check()
        run = recorder.insist(store.client.get_run, run_id)
        mend_artifact_root(store, run.info.experiment_id, run_id)
        recorder.log({}, {"kind": kind, "outcome": "running", "heartbeat": _now(), **identify_process()})
        if RANDOM_NAME.fullmatch(run.info.run_name or ""):
            recorder.log({}, {"mlflow.runName": name})
        yield recorder


@contextmanager
def end_launched_run(store: Store, kind: str) -> Iterator[None]:
    """Let a run that `mlflow run` has made end with the block; without one nothing is recorded."""
    with open_run(store, kind, kind) if "MLFLOW_RUN_ID" in os.environ else nullcontext():
        yield


@contextmanager
def end_with_reason(recorder: Recorder) -> Iterator[None]:
    """End the run with the block: finished, killed, or failed with the reason."""
    try:
        yield
    except RunKilled as killed:
        _try_to_end(recorder, "killed", signal.Signals(killed.signal_number).name)
        killed.run_id = "" if recorder.journal.pending else recorder.run_id
        raise
    except STORE_ERRORS as error:
        _try_to_end(recorder, "failed", _explain(error))
        raise StoreError(f"the tracking store refused a write: {first_line(error)}") from error
    except BaseException as error:
        _try_to_end(recorder, "failed", _explain(error))
        raise
    try:
        recorder.end("finished", "went to its end", "FINISHED")
        recorder.insist(lambda: None)
    except STORE_ERRORS as error:
        raise StoreError(f"the tracking store refused the run's end: {first_line(error)}") from error


def fail_adopted_run(store: Store, reason: str) -> None:
    """End the launcher's run, if there is one that nobody has taken up yet, with the reason why nothing was trained."""
    if run_id := os.environ.pop("MLFLOW_RUN_ID", ""):
        try:
            Recorder(store, run_id).end("failed", reason, "FAILED")
        except STORE_ERRORS as error:
            raise StoreError(f"the run {run_id} cannot be ended: {first_line(error)}") from error


def _create_run(store: Store, name: str, experiment_id: str) -> str:
    """A new run, where nothing else is said in the experiment that the environment names.

    Exactly one, although an answer may be lost and MLflow then asks again: the request has an id to find it by.
    """
    request = uuid.uuid4().hex
    experiment_id = experiment_id or find_experiment(store, create=True)
    try:
        store.client.create_run(experiment_id, run_name=name, tags={**resolve_tags(), REQUEST: request})
    except STORE_ERRORS as error:
        if not is_away(error):
            raise StoreError(f"the tracking store refused a new run: {first_line(error)}") from error
    try:
        made = store.client.search_runs([experiment_id], f"tags.`{REQUEST}` = '{request}'", order_by=["run_id"])
        for ghost in made[1:]:
            store.client.delete_run(ghost.info.run_id)
        return str(made[0].info.run_id)
    except (*STORE_ERRORS, IndexError) as error:
        raise StoreAway(f"the tracking store is away ({first_line(error)}); start again when it answers") from error


def _explain(error: BaseException) -> str:
    """Why a run failed; errors of our own speak for themselves."""
    return first_line(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {first_line(error)}"


def _try_to_end(recorder: Recorder, outcome: str, reason: str) -> None:
    """End a failed or killed run as far as the store allows: a second failure must not hide the first."""
    try:
        recorder.end(outcome, reason, outcome.upper())
    except (*STORE_ERRORS, OSError):
        return


def _now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
