"""Write one run to MLflow: adopt or create it, log it as it trains, and say how it ended."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, Param

from pipeline import interrupts
from pipeline.data.datasets import Dataset
from pipeline.errors import PipelineError, RunKilled, StoreError, StoreUnreachable
from pipeline.images import NAMES, Images
from pipeline.study import tags
from pipeline.study.facts import COLOURS, describe_row, describe_settings, describe_variant
from pipeline.study.settings import Settings
from pipeline.study.variants import Variant
from pipeline.tracking.mlflow_internals import COLOUR, set_artifact_root
from pipeline.tracking.process import format_now, identify_process
from pipeline.tracking.provenance import correct_tags, describe_environment, read_source
from pipeline.tracking.store import STORE_ERRORS, Store, first_line, store_errors
from pipeline.tracking.write.adoption import adopt_run, create_run
from pipeline.tracking.write.journal import Journal
from pipeline.training.observer import Observer

RANDOM_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")
TAG_LIMIT = 5000


class Recorder(Observer):
    """One run in the store; as an observer it logs a training while it goes on."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.store, self.client = store, store.client
        self.run_id = run_id
        self.journal = Journal(store, run_id)
        self.call, self.flush, self.log_image = self.journal.call, self.journal.flush, self.journal.log_image
        self.images: set[int] = set()  # the epochs of which an earlier process has logged the step image

    def begin_training(self, summary: str, runtime: Mapping[str, object]) -> None:
        """Log the model summary and the environment."""
        self.call(self.client.log_dict, self.run_id, describe_environment(runtime), "environment.json")
        self.call(self.client.log_text, self.run_id, summary, "model_summary.txt")

    def end_epoch(self, epoch: int, metrics: Mapping[str, float], ended: int | None = None) -> None:
        """Log all metrics of an epoch in one write, which no signal cuts in two."""
        with interrupts.shield():
            self.log(metrics, {tags.HEARTBEAT: format_now(), tags.EPOCH: str(epoch)}, step=epoch, timestamp=ended)

    def log_files(self, folder: str, files: Iterable[tuple[str, bytes]]) -> None:
        """Log every (name, content) as a file in this folder of the run's artifacts."""
        with tempfile.TemporaryDirectory() as place:
            for name, content in files:
                interrupts.check()
                Path(place, name).write_bytes(content)
            self.call(self.client.log_artifacts, self.run_id, place, folder)

    def log(
        self, metrics: Mapping[str, float], tags: Mapping[str, str], step: int = 0, timestamp: int | None = None
    ) -> None:
        """Log metrics at one step and set tags, in one write; `timestamp` in milliseconds since 1970, else now."""
        self.journal.log(metrics, tags, step, timestamp)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log what is not there yet: `mlflow run` has logged its own parameters, as they were typed."""
        present = self.call(self.client.get_run, self.run_id).data.params
        missing = [Param(name, str(value)) for name, value in params.items() if name not in present]
        self.call(self.client.log_batch, self.run_id, params=missing)

    def log_source(self, variant: Variant, settings: Settings) -> None:
        """Log the settings and the variant's row, the git commit and the diff of a dirty checkout."""
        self.log_params({**describe_settings(settings), **describe_row(variant)})
        self._correct_git_tags()
        commit, changes, diff = read_source()
        self.log({}, {tags.COMMIT: commit, tags.GIT_DIRTY: str(bool(changes))} if commit else {})
        if changes:
            self.call(self.client.log_text, self.run_id, f"{changes}\n{diff}", "git.diff")

    def _correct_git_tags(self) -> None:
        """Take back what `mlflow run` has said of another project's repository around this one, and secrets."""
        present = self.call(self.client.get_run, self.run_id).data.tags
        for name, value in correct_tags(present).items():
            if not value:
                self.call(self.client.delete_tag, self.run_id, name)
            elif value != present[name]:
                self.log({}, {name: value})

    def log_config(self, variant: Variant, settings: Settings, images: Images) -> None:
        """Log what is known once the images are: the network's size, their shape and classes; and config.json of all.

        The classes' names are in the file alone: a param is too short for a thousand.
        """
        config = {**describe_settings(settings), **describe_variant(variant, images), **images.describe()}
        self.log_params({name: value for name, value in config.items() if name != NAMES})
        self.call(self.client.log_dict, self.run_id, config, "config.json")

    def log_dataset(self, dataset: Dataset) -> None:
        """Log what is trained and tested on, with the sha256 of its contents, as MLflow's dataset input."""
        pixels, labels = ", ".join(["N", *map(str, dataset.images.raw_shape)]), dataset.y_train.dtype
        facts = {"train": len(dataset.y_train), "test": len(dataset.y_test), "sha256": dataset.sha256}
        entity = DatasetEntity(
            name=dataset.name,
            digest=dataset.sha256[:36],  # MLflow's limit; the whole hash is in the profile and in a tag
            source_type="local",
            source=f'{{"uri": "{dataset.name}"}}',
            schema=f'{{"images": "uint8 ({pixels})", "labels": "{labels} (N,)"}}',
            profile=str(facts).replace("'", '"'),
        )
        inputs = [DatasetInput(entity, [InputTag("mlflow.data.context", "training")])]
        try:
            self.call(self.client.log_inputs, self.run_id, inputs)
        except STORE_ERRORS:  # another run logged the same data at the same moment, and MLflow keeps them once
            self.call(self.client.log_inputs, self.run_id, inputs)
        self.log_params({tags.PARAM_DATA_SHA256: dataset.sha256, tags.PARAM_DATA_NAME: dataset.name})
        named = {tags.DATA_SHA256: dataset.sha256, tags.DATA_SOURCE: dataset.source, tags.DATA_INK: dataset.ink}
        self.log({}, {**named, tags.TRAIN_IMAGES: str(len(dataset.y_train))})

    def end(self, outcome: str, reason: str) -> None:
        """Say how the run ended, in tags of our own: `mlflow run` overwrites the status."""
        with interrupts.shield(then_check=False):
            self.log({}, {tags.OUTCOME: outcome, tags.REASON: reason[:TAG_LIMIT], tags.HEARTBEAT: format_now()})
            self.journal.end(outcome.upper())

    def forget_process(self) -> None:
        """Take the tags of its process off a finished run where the store lets us: nobody asks any more if it lives."""
        with suppress(*STORE_ERRORS), interrupts.shield(then_check=False):
            for name in tags.OF_PROCESS:
                self.client.delete_tag(self.run_id, name)


@contextmanager
def record_run(store: Store, variant: Variant, settings: Settings) -> Iterator[Recorder]:
    """The recorder of a training: its run has the variant's name and ends with the block."""
    with open_run(store, f"{variant.name}-s{settings.seed}", "train") as recorder:
        named = {tags.VARIANT: variant.name, tags.TWIN: variant.twin or "none", tags.ATTEMPT: "1"}
        recorder.log({}, {**named, COLOUR: COLOURS[variant.regularised]})
        yield recorder


@contextmanager
def open_run(store: Store, name: str, kind: str, experiment_id: str = "") -> Iterator[Recorder]:
    """The recorder of the launcher's run, or of a new one; the run ends with the block, whatever ends it."""
    with ExitStack() as stack:
        with interrupts.shield(then_check=False):  # no signal comes between a run and the guard that ends it
            begun = {tags.KIND: kind, tags.OUTCOME: "running", **identify_process()}
            run_id = adopt_run(store, begun) or create_run(store, name, experiment_id, begun)
            recorder = Recorder(store, run_id)
            stack.enter_context(end_with_reason(recorder))
        interrupts.check()
        run = recorder.call(store.client.get_run, run_id)
        set_artifact_root(store.database, run.info.experiment_id, run_id)
        if RANDOM_NAME.fullmatch(run.info.run_name or ""):
            recorder.log({}, {tags.RUN_NAME: name})
        yield recorder


@contextmanager
def end_launched_run(store: Store, kind: str) -> Iterator[None]:
    """Let a run that `mlflow run` has made end with the block; without one nothing is recorded."""
    with open_run(store, kind, kind) if "MLFLOW_RUN_ID" in os.environ else nullcontext():
        yield


@contextmanager
def end_with_reason(recorder: Recorder, completed: str = "completed") -> Iterator[None]:
    """End the run with the block: finished, killed, or failed with the reason."""
    try:
        yield
    except BaseException as error:
        with suppress(*STORE_ERRORS, OSError):  # a second failure must not hide the first
            recorder.end(*_explain(error))
        if isinstance(error, STORE_ERRORS):
            raise StoreError(f"the tracking store refused a write: {first_line(error)}") from error
        raise
    with store_errors(recorder.store, "refused the run's end"):
        recorder.end("finished", completed)
        recorder.flush()
    recorder.forget_process()


def fail_adopted_run(store: Store, reason: str) -> None:
    """End the launcher's run, if there is one that nobody has taken up yet, with the reason why nothing was trained."""
    try:
        run_id = adopt_run(store, {tags.OUTCOME: "failed", tags.REASON: reason[:TAG_LIMIT]})
    except StoreUnreachable:
        raise
    except StoreError:  # an unknown, ended or used run is nobody's to end
        return
    if run_id:
        with store_errors(store, f"cannot end the run {run_id}"):
            Recorder(store, run_id).end("failed", reason)


def _explain(error: BaseException) -> tuple[str, str]:
    """How a run ended and why; errors of our own speak for themselves."""
    if isinstance(error, RunKilled):
        return "killed", signal.Signals(error.signal_number).name
    if isinstance(error, KeyboardInterrupt):  # in a notebook, where no signal is handled
        return "killed", "KeyboardInterrupt"
    reason = first_line(error)
    return "failed", reason if isinstance(error, PipelineError) else f"{type(error).__name__}: {reason}"
