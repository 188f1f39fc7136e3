"""Real trainings with a planted fault, as rows of a runs frame: does the gate notice?"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from pipeline.data.datasets import Dataset, load_data
from pipeline.study.predicted import Predicted
from pipeline.study.settings import Settings
from pipeline.study.variants import VARIANTS
from pipeline.training import network
from pipeline.training.evaluation import compile_evaluation, measure_penalty
from pipeline.training.run import Result, train_run
from tests.conftest import SUBSET
from tests.frames import make_run

EPOCHS = 15
IMAGES = 600
FAULTS = ("learning rate x 10", "learning rate / 10", "10 % of labels shifted", "half the epochs", "dropout left on")


def shift_labels(dataset: Dataset) -> Dataset:
    """The data with one training label in ten replaced by the next class."""
    labels = dataset.raw.y_train.copy()
    labels[::10] = (labels[::10] + 1) % 10
    return replace(dataset, raw=replace(dataset.raw, y_train=labels))


def keep_dropout(result: Result, dataset: Dataset) -> tuple[float, float]:
    """(test loss with penalty, accuracy) of a network that evaluates with its dropouts on."""
    values = keras.ops.convert_to_tensor(dataset.x_test)
    for layer in result.network.layers:
        values = layer(values, training=True) if isinstance(layer, keras.layers.Dropout) else layer(values)
    chances = keras.ops.convert_to_numpy(values).astype(float)
    right = chances[np.arange(len(chances)), dataset.y_test]
    loss = -np.log(np.maximum(right, 1e-30)).mean() + measure_penalty(result.network)
    return float(loss), float((chances.argmax(axis=1) == dataset.y_test).mean())


@functools.cache
def train(name: str, seed: int, fault: str) -> tuple[Result, Dataset]:
    """One real training, with the data that it is tested on; evaluating with dropouts left on changes none."""
    dataset = load_data(str(SUBSET), subset=IMAGES)
    data = shift_labels(dataset) if fault == "10 % of labels shifted" else dataset
    rates = {"learning rate x 10": 0.01, "learning rate / 10": 0.0001}
    epochs = EPOCHS // 2 if fault == "half the epochs" else EPOCHS
    keras.backend.clear_session()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "LEARNING_RATE", rates.get(fault, network.LEARNING_RATE))
        settings = Settings(epochs=epochs, subset=IMAGES, seed=seed)
        return train_run(VARIANTS[name], settings, data), dataset


def train_rows(
    names: Sequence[str], seeds: Sequence[int], fault: str = ""
) -> tuple[pd.DataFrame, dict[str, Predicted]]:
    """A row of each variant and seed, trained with a fault, and what each run predicted."""
    rows, predicted = [], {}
    for minute, (name, seed) in enumerate((name, seed) for seed in seeds for name in names):
        result, dataset = train(name, seed, "" if fault == "dropout left on" else fault)
        loss, accuracy = result.finals["final/test_loss"], result.finals["final/test_accuracy"]
        row = make_run(name, seed, minute, epochs=EPOCHS, subset=IMAGES, data_sha256=dataset.sha256)
        row["run_id"] = f"{fault or 'healthy'}-{name}-{seed}"
        if fault == "dropout left on":
            loss, accuracy = keep_dropout(result, dataset)
        else:
            answers = compile_evaluation(result.network)(dataset.x_test, dataset.y_test).predictions
            predicted[row["run_id"]] = Predicted(label=dataset.y_test, **answers._asdict())
        row |= {"final/test_loss": loss, "final/test_accuracy": accuracy, "weights_sha256": result.weights_sha256}
        rows.append(row)
    return pd.DataFrame(rows), predicted
