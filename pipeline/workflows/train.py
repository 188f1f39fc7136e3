"""One training from its settings to its finished run: data, training, figures and the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from pipeline import interrupts
from pipeline.data.datasets import Dataset, check_name, load_data
from pipeline.report.figures import runs as figures
from pipeline.report.figures.render import render_files, render_png, shrink_png
from pipeline.report.text.note import write_note
from pipeline.study.layers import check_fit
from pipeline.study.predicted import Predicted
from pipeline.study.settings import Settings
from pipeline.study.tags import FINGERPRINT, NOTE, WEIGHTS_SHA256
from pipeline.study.variants import Variant
from pipeline.tracking.files.artifacts import record_predictions, record_sample
from pipeline.tracking.files.hashes import record_hashes
from pipeline.tracking.files.model import record_model
from pipeline.tracking.frozen import freeze_declared
from pipeline.tracking.store import open_store
from pipeline.tracking.write.recorder import Recorder, record_run
from pipeline.tracking.write.resume import locate_checkpoints, resume_run
from pipeline.training.checkpoint import Checkpoints, drop_checkpoints, hold_checkpoints
from pipeline.training.fingerprint import fingerprint_training, identify_training
from pipeline.training.observer import Kernels, Observer

if TYPE_CHECKING:  # importing it would import TensorFlow
    from pipeline.training.run import Result


LOADING, TRAINING, LOGGING = "Loading TensorFlow", "Training", "Logging figures, predictions and the model"


class RunProgress(Observer):
    """Hears how a run goes, besides what an Observer hears of its training; override what you need."""

    def begin_run(self, run_id: str, variant: Variant, settings: Settings, *, resumes: bool) -> None:
        """A run has started, or goes on."""

    def show_data(self, dataset: Dataset) -> None:
        """These are the data."""

    def end_run(self, trained: TrainedRun) -> None:
        """The run has finished."""

    def during(self, phase: str) -> AbstractContextManager[object]:
        """What surrounds one of the three phases of a run: LOADING, TRAINING, LOGGING."""
        del phase
        return nullcontext()


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A finished run: `history` holds the metrics of each epoch, `finals` those of the last weights."""

    run_id: str
    variant: Variant
    settings: Settings
    history: list[dict[str, float]]
    finals: dict[str, float]
    weights_sha256: str


def train_variant(
    variant: Variant, settings: Settings, progress: RunProgress, dataset: Dataset | None = None
) -> TrainedRun:
    """Train `variant` and log everything to MLflow; the data are loaded unless they are given."""
    interrupts.follow_launcher()
    if dataset is None:
        check_name(settings.data)  # before there is a run
    store = open_store()
    with record_run(store, variant, settings) as recorder:
        progress.begin_run(recorder.run_id, variant, settings, resumes=False)
        recorder.call(freeze_declared, store, recorder.run_id)
        recorder.log_source(variant, settings)
        dataset = dataset or load_data(settings.data, subset=settings.subset, normalization=settings.normalization)
        recorder.log_dataset(dataset)
        check_fit(variant, dataset.images)
        recorder.log_config(variant, settings, dataset.images)
        recorder.log({}, {FINGERPRINT: fingerprint_training(variant, settings, dataset.sha256)})
        folder = locate_checkpoints(store, recorder.run_id)
        with hold_checkpoints(folder, identify_training(variant, settings, dataset.sha256)) as checkpoints:
            trained = _Run(recorder, variant, settings, dataset, progress).train(checkpoints)
    drop_checkpoints(folder)
    progress.end_run(trained)
    return trained


def resume_training(
    run_id: str, variant: Variant, settings: Settings, progress: RunProgress, dataset: Dataset | None = None
) -> TrainedRun:
    """Go on with a run (tracking.write.resume.find_resumable says what it trains) and log the rest of it.

    It is touched only when its checkpoint is known to be usable.
    """
    interrupts.follow_launcher()
    store = open_store()
    dataset = dataset or load_data(settings.data, subset=settings.subset, normalization=settings.normalization)
    folder = locate_checkpoints(store, run_id)
    config = identify_training(variant, settings, dataset.sha256)
    fingerprint = fingerprint_training(variant, settings, dataset.sha256)
    with hold_checkpoints(folder, config) as checkpoints, resume_run(store, run_id, fingerprint) as recorder:
        progress.begin_run(run_id, variant, settings, resumes=True)
        trained = _Run(recorder, variant, settings, dataset, progress).train(checkpoints)
    drop_checkpoints(folder)
    progress.end_run(trained)
    return trained


class _ViolinImages(Observer):
    """Draws the kernels at the epochs at which they are shown, and logs the picture as a step image."""

    def __init__(self, recorder: Recorder, name: str) -> None:
        self.recorder, self.name = recorder, name

    def show_kernels(self, epoch: int, kernels: Kernels) -> None:
        """Log the three violins, for the slider of MLflow's image grid, unless the run has them already."""
        if epoch not in self.recorder.images:
            png = render_png(figures.plot_weights(kernels, epoch, self.name))
            self.recorder.log_image("weights", epoch, {".png": png, "+compressed.webp": shrink_png(png)})


@dataclass(frozen=True)
class _Run:
    """A run on its way: recorder, what is trained, on what, and who hears of it."""

    recorder: Recorder
    variant: Variant
    settings: Settings
    dataset: Dataset
    progress: RunProgress

    @property
    def name(self) -> str:
        """What its figures are of."""
        return f"{self.variant.name}, seed {self.settings.seed}"

    def train(self, checkpoints: Checkpoints) -> TrainedRun:
        """Train and log."""
        self.progress.show_data(self.dataset)
        with self.progress.during(LOADING):
            from pipeline.training.run import train_run
            from pipeline.training.runtime import prepare_runtime

            prepare_runtime(self.settings.threads)
        observers = [self.recorder, self.progress, _ViolinImages(self.recorder, self.name)]
        with self.progress.during(TRAINING):
            result = train_run(self.variant, self.settings, self.dataset, observers, checkpoints)
        with self.progress.during(LOGGING):
            self.record(result)
        return TrainedRun(
            run_id=self.recorder.run_id,
            variant=self.variant,
            settings=self.settings,
            history=result.history,
            finals=result.finals,
            weights_sha256=result.weights_sha256,
        )

    def record(self, result: Result) -> None:
        """Log everything of a finished training; the finals come last, and then the hashes of it all."""
        self.recorder.log_files("figures", render_files(draw_figures(self.dataset, result, self.name)))
        record_predictions(self.recorder, self.dataset, result)
        record_sample(self.recorder, self.dataset)
        self.recorder.call(record_model, self.recorder, self.dataset, result)
        note = write_note(self.variant, self.settings, self.dataset, result.finals)
        with interrupts.shield():
            tags = {WEIGHTS_SHA256: result.weights_sha256, NOTE: note}
            self.recorder.log(result.finals, tags, step=self.settings.epochs)
        record_hashes(self.recorder)


def draw_figures(dataset: Dataset, result: Result, name: str) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of every figure of a run, which is called `name` in its titles."""
    epochs, classes = len(result.history), dataset.images.classes
    said = Predicted(label=dataset.y_test, **result.recent[-1]._asdict())
    yield "loss", figures.plot_losses(result.history, name)
    yield "accuracy", figures.plot_accuracies(result.history, name)
    yield "weights", figures.plot_weights(result.kernels, epochs, name)
    yield "all_weights", figures.plot_all_weights(result.kernels, epochs, name)
    yield "first_image", figures.plot_first_image(dataset.raw.x_train[0], classes[dataset.y_train[0]])
    yield "confusion", figures.plot_confusion(said.label, said.predicted, classes, name)
    yield "mistakes", figures.plot_mistakes(dataset.raw.x_test, said, classes, name)
