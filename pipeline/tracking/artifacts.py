"""What a finished training leaves in the store: finals, figures, predictions, the model and a note to read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from matplotlib.figure import Figure
from mlflow.models import Model
from mlflow.utils import requirements_utils

from pipeline import interrupts
from pipeline.data.likeness import draw_sample
from pipeline.data.mnist import Dataset
from pipeline.faults import fault_point
from pipeline.report import figures
from pipeline.report.note import write_note
from pipeline.study.settings import Settings
from pipeline.study.variants import Variant
from pipeline.tracking.recorder import Recorder

if TYPE_CHECKING:  # importing it would import TensorFlow
    from pipeline.training.run import Result

MODEL_NAME = "model"
SAMPLE_NAME = "training_sample.npz"
NORMALIZATIONS = {
    "l2": "each column of an image divided by its L2 norm, or by 1 where that is 0",
    "scale": "divided by 255",
}
ARTIFACTS = (
    "config.json",
    "environment.json",
    "model_summary.txt",
    "predictions.npz",
    "figures/loss.png",
    "figures/accuracy.png",
    "figures/weights.png",
    "figures/all_weights.png",
    "figures/first_image.png",
    "figures/confusion.png",
    "figures/mistakes.png",
)
"""Every file of a complete training run, besides the model and the step images."""


def record_result(recorder: Recorder, variant: Variant, settings: Settings, dataset: Dataset, result: Result) -> None:
    """Log everything of a finished training; the finals come last, so that a run with finals is complete."""
    recorder.log_figures(draw_figures(dataset, result))
    record_predictions(recorder, dataset, result)
    record_sample(recorder, dataset)
    recorder.insist(record_model, recorder, dataset, result)
    note = write_note(variant, settings, dataset, result.finals)
    with interrupts.shield():
        tags = {"weights.sha256": result.weights_sha256, "mlflow.note.content": note}
        recorder.log(result.finals, tags, step=settings.epochs)


def draw_figures(dataset: Dataset, result: Result) -> Iterable[tuple[str, Figure]]:
    """(name, figure) of every figure of a run."""
    epochs, labels, test = len(result.history), dataset.y_test, result.test.predictions
    yield "loss", figures.plot_losses(result.history)
    yield "accuracy", figures.plot_accuracies(result.history)
    yield "weights", figures.plot_weights(result.kernels, epochs)
    yield "all_weights", figures.plot_all_weights(result.kernels, epochs)
    yield "first_image", figures.plot_first_image(dataset.raw.x_train[0], int(dataset.y_train[0]))
    yield "confusion", figures.plot_confusion(labels, test.predicted)
    yield "mistakes", figures.plot_mistakes(dataset.raw.x_test, labels, test.predicted, test.log_probability)


def record_predictions(recorder: Recorder, dataset: Dataset, result: Result) -> None:
    """Log predictions.npz: by test image the label, what the last epoch predicted, and the means of the last three.

    `predicted` (uint8) and `log_probability` (float32, of the true class) are the last epoch's. `recent_wrong` counts
    in how many of the last `recent` epochs the prediction was wrong; `recent_log_probability` (float16) is the mean.
    """
    recent = np.array([each.log_probability for each in result.recent])
    wrong = np.array([each.predicted != dataset.y_test for each in result.recent])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.npz"
        np.savez_compressed(
            path,
            label=dataset.y_test,
            **result.test.predictions._asdict(),
            recent=len(recent),
            recent_wrong=wrong.sum(axis=0).astype(np.uint8),
            recent_log_probability=recent.mean(axis=0, dtype=np.float64).astype(np.float16),
        )
        recorder.insist(recorder.client.log_artifact, recorder.run_id, str(path))


def record_sample(recorder: Recorder, dataset: Dataset) -> None:
    """Log training_sample.npz: some training images, by which `predict` knows a picture that is unlike all of them."""
    sample = draw_sample(dataset.raw)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SAMPLE_NAME
        np.savez_compressed(path, images=sample.images, usual=sample.usual)
        recorder.insist(recorder.client.log_artifact, recorder.run_id, str(path))


def look_up_packages() -> None:
    """Do now what MLflow does before it saves its first model: find the packages of all modules, in some seconds."""
    requirements_utils._init_packages_to_modules_map()


def record_model(recorder: Recorder, dataset: Dataset, result: Result) -> None:
    """Log the network in MLflow's keras flavour, once a run.

    With its signature, explicit requirements, one test image as the network takes it for an example, and metadata that
    say what an array of pixels must become.
    """
    from mlflow.keras.utils import get_model_signature  # imports TensorFlow

    experiment_id = recorder.client.get_run(recorder.run_id).info.experiment_id
    of_this_run = f"source_run_id = '{recorder.run_id}'"
    for model in recorder.client.search_logged_models([experiment_id], of_this_run):
        recorder.client.delete_logged_model(model.model_id)  # an earlier attempt was killed around here
    with _set_experiment(experiment_id):
        Model.log(
            artifact_path=None,
            name=MODEL_NAME,
            flavor=_KerasFlavor,
            run_id=recorder.run_id,
            model=result.network,
            signature=get_model_signature(result.network),
            input_example=dataset.x_test[:1],
            validate_serving_input=False,
            metadata={"normalization": dataset.normalization, "ink": dataset.ink, "input": describe_input(dataset)},
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in ("tensorflow", "keras", "numpy")],
            step=len(result.history),
        )
    fault_point("model-logged")


class _KerasFlavor:
    """MLflow's keras flavour, which writes an input example into a folder that is not there (mlflow issue 16183)."""

    @staticmethod
    def save_model(path: str, *, validate_serving_input: bool, **model: Any) -> None:
        """Make the folder, then save into it; the switch is Model.log's alone, which hands it on."""
        del validate_serving_input
        Path(path).mkdir()
        mlflow.keras.save_model(path=path, **model)


def describe_input(dataset: Dataset) -> str:
    """What a user of the logged model has to do with pixels of 0 to 255 first, in a sentence."""
    return (
        f"float32 {tuple(dataset.x_train.shape[1:])} with {dataset.ink} ink; make it of uint8 pixels (N, 28, 28) by "
        f'pipeline.data.mnist.normalise(pixels, "{dataset.normalization}"): {NORMALIZATIONS[dataset.normalization]}'
    )


@contextmanager
def _set_experiment(experiment_id: str) -> Iterator[None]:
    """Name the run's own experiment in MLflow's environment: Model.log looks there for a model's place."""
    before = os.environ.get("MLFLOW_EXPERIMENT_ID")
    os.environ["MLFLOW_EXPERIMENT_ID"] = experiment_id
    try:
        yield
    finally:
        os.environ.pop("MLFLOW_EXPERIMENT_ID")
        if before is not None:
            os.environ["MLFLOW_EXPERIMENT_ID"] = before
