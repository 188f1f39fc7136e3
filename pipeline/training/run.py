"""One training: a variant, its settings and a data set in, a trained network with its history out."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline import interrupts
from pipeline.data.mnist import Dataset, stratify
from pipeline.errors import ResumeError, TrainingError
from pipeline.study.settings import Settings
from pipeline.study.variants import CLASSES, Variant
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.evaluation import Evaluation, compile_evaluation, measure_penalty
from pipeline.training.network import (
    build_network,
    collect_kernels,
    collect_state,
    hash_weights,
    restore_state,
    summarise_network,
)
from pipeline.training.observer import Epoch, Kernels, Observer
from pipeline.training.randomness import draw_order, set_dropout_state
from pipeline.training.runtime import prepare_runtime

PROBE_SIZE = 10_000
SNAPSHOT_EPOCHS = (0, 1, 2, 5, 10, 15, 20, 25)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished training: `history` holds one dict of metrics an epoch, `finals` those of the last weights."""

    network: keras.Model
    history: list[dict[str, float]]
    finals: dict[str, float]
    test: Evaluation
    kernels: Kernels
    weights_sha256: str


def train_run(
    variant: Variant,
    settings: Settings,
    dataset: Dataset,
    observers: Sequence[Observer] = (),
    checkpoints: Checkpoints | None = None,
) -> Result:
    """Train `variant` by the study's protocol and evaluate it after every epoch; go on where `checkpoints` start.

    Nothing is selected: the result is the network after the last epoch. The same variant, settings, data and versions
    give the same weights bit for bit, however often the training was killed and went on. Raises TrainingError when the
    loss is not finite, ResumeError for a checkpoint of another network, RunKilled on a signal.
    """
    prepare_runtime(settings.threads)
    keras.utils.set_random_seed(settings.seed)  # required by deterministic operations; every draw has its own stream
    network = build_network(variant, settings.seed)
    images = tf.constant(dataset.x_train)
    epochs = _Epochs(network, settings, dataset, images, observers, checkpoints)
    done = epochs.begin()
    if done < settings.epochs:
        network.fit(
            stream_batches(images, dataset.y_train, settings, done),
            initial_epoch=done,
            epochs=settings.epochs,
            steps_per_epoch=count_batches(dataset, settings),
            callbacks=[epochs],
            shuffle=False,  # stream_batches has its own order
            verbose=0,
        )
    return _conclude(network, epochs, dataset, images)


def count_batches(dataset: Dataset, settings: Settings) -> int:
    """Batches in one epoch; the last one may be smaller."""
    return math.ceil(len(dataset.y_train) / settings.batch_size)


def stream_batches(images: Any, labels: npt.NDArray[np.uint8], settings: Settings, done: int = 0) -> tf.data.Dataset:
    """Batches of (images, one-hot labels) for all epochs after the `done` first, on end, each in its own order."""
    targets = tf.one_hot(labels, CLASSES)
    orders = np.stack([draw_order(settings.seed, epoch, len(labels)) for epoch in range(done + 1, settings.epochs + 1)])
    epochs = tf.data.Dataset.from_tensor_slices(orders)
    batches = epochs.flat_map(lambda order: tf.data.Dataset.from_tensor_slices(order).batch(settings.batch_size))
    return batches.map(lambda index: (tf.gather(images, index), tf.gather(targets, index))).prefetch(2)


@dataclass(eq=False)
class _Epochs(keras.callbacks.Callback):  # type: ignore[misc]
    """Keras's callback that sets the epoch's randomness, guards every batch and evaluates every epoch."""

    network: keras.Model
    settings: Settings
    dataset: Dataset
    images: Any
    observers: Sequence[Observer]
    checkpoints: Checkpoints | None
    past: list[Epoch] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.batches = count_batches(self.dataset, self.settings)
        self.evaluate = compile_evaluation(self.network)
        probe = stratify(self.dataset.y_train, min(PROBE_SIZE, len(self.dataset.y_train)))
        self.probe = tf.gather(self.images, probe), self.dataset.y_train[probe]
        self.test = tf.constant(self.dataset.x_test), self.dataset.y_test

    def begin(self) -> int:
        """Start anew, or where the checkpoint left off; the number of epochs that are done."""
        start = self.checkpoints.start if self.checkpoints else None
        if self.checkpoints and start:
            try:
                restore_state(self.network, start.arrays)
            except ResumeError as error:
                raise ResumeError(f"{start.name} {error}") from error
            self.past.extend(start.epochs)
        for observer in self.observers:
            if self.checkpoints and start:
                observer.resume_training(start.epochs, self.checkpoints.refused)
            else:
                observer.begin_training(summarise_network(self.network))
        self.show_kernels()
        return len(self.past)

    def show_kernels(self) -> None:
        """Show the kernels after the last epoch, if it is one of those to be shown."""
        if len(self.past) in (*SNAPSHOT_EPOCHS, self.settings.epochs):
            for observer in self.observers:
                observer.show_kernels(len(self.past), collect_kernels(self.network))

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        set_dropout_state(self.network, self.settings.seed, epoch + 1)
        self.epoch, self.started = epoch + 1, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        interrupts.check()
        if logs and not math.isfinite(logs["loss"]):
            raise TrainingError(f"the loss is no longer finite at epoch {self.epoch}, batch {batch + 1}")
        for observer in self.observers:
            observer.end_batch(self.epoch, batch + 1, self.batches)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        interrupts.check()
        trained = time.perf_counter()
        metrics = measure_epoch(logs or {}, self.evaluate(*self.probe), self.evaluate(*self.test), self.network)
        if not all(map(math.isfinite, metrics.values())):
            raise TrainingError(f"the weights or the evaluation are no longer finite after epoch {self.epoch}")
        metrics["time/train_seconds"] = trained - self.started
        metrics["time/epoch_seconds"] = time.perf_counter() - self.started
        self.past.append(Epoch(metrics, time.time_ns() // 1_000_000))
        if self.checkpoints:  # first, so that no store ever knows an epoch that would be trained again
            with interrupts.shield():
                self.checkpoints.save(self.past, collect_state(self.network))
        for observer in self.observers:
            observer.end_epoch(self.epoch, *self.past[-1])
        self.show_kernels()


def measure_epoch(fit: dict[str, float], train: Evaluation, test: Evaluation, network: keras.Model) -> dict[str, float]:
    """The metrics of one epoch: what Keras's fit reports, and the honest ones of the same weights.

    `train/*` are fit's running means with dropout on and the penalty in, `test/loss` has the penalty too, as the
    notebook reads them. `honest/*` are in evaluation mode without penalty. A gap is test loss less train loss, in nats.
    """
    test_loss = test.loss + measure_penalty(network)
    return {
        "train/loss": float(fit["loss"]),
        "train/accuracy": float(fit["accuracy"]),
        "test/loss": test_loss,
        "test/accuracy": test.accuracy,
        "honest/train_loss": train.loss,
        "honest/train_accuracy": train.accuracy,
        "honest/test_loss": test.loss,
        "gap/notebook": test_loss - float(fit["loss"]),
        "gap/honest": test.loss - train.loss,
    }


def _conclude(network: keras.Model, epochs: _Epochs, dataset: Dataset, images: Any) -> Result:
    """The result with its finals: the last epoch's metrics, the honest training ones now on all training images."""
    history = [epoch.metrics for epoch in epochs.past]
    last = history[-1]
    train, test = epochs.evaluate(images, dataset.y_train), epochs.evaluate(*epochs.test)
    finals = {
        **{f"final/{name.replace('/', '_')}": last[name] for name in last if name.startswith(("train", "test"))},
        "final/honest_train_loss": train.loss,
        "final/honest_train_accuracy": train.accuracy,
        "final/honest_test_loss": test.loss,
        "final/gap_notebook": last["gap/notebook"],
        "final/gap_honest": test.loss - train.loss,
        "final/epoch_seconds": float(np.median([metrics["time/epoch_seconds"] for metrics in history])),
    }
    return Result(
        network=network,
        history=history,
        finals=finals,
        test=test,
        kernels=collect_kernels(network),
        weights_sha256=hash_weights(network),
    )
