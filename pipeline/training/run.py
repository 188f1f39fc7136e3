"""One training: a variant, its settings and a data set in, a trained network with its history out."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline import interrupts
from pipeline.data.datasets import Dataset, stratify
from pipeline.errors import ResumeError, TrainingError
from pipeline.study import metrics
from pipeline.study.settings import Settings
from pipeline.study.variants import Variant
from pipeline.training.checkpoint import Arrays, Checkpoints
from pipeline.training.evaluation import Evaluation, Predictions, compile_evaluation, measure_penalty
from pipeline.training.network import (
    build_network,
    collect_kernels,
    collect_state,
    hash_weights,
    restore_state,
    summarise_network,
)
from pipeline.training.observer import Epoch, Kernels, Observer
from pipeline.training.randomness import draw_dropout_seeds, draw_order
from pipeline.training.runtime import describe_runtime, prepare_runtime
from pipeline.training.step import Step, compile_step, count_dropouts

PROBE_SIZE = 10_000
RECENT = 3
"""A result holds the predictions of so many last epochs: where it is declared, a verdict rests on their mean."""
TEST = "test-"
SNAPSHOT_EPOCHS = (0, 1, 2, 5, 10, 15, 20, 25)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished training: `history` holds one dict of metrics an epoch, `finals` those of the last weights.

    `recent` is what the last RECENT epochs predicted on the test images, the last epoch's last.
    """

    network: keras.Model
    history: list[dict[str, float]]
    finals: dict[str, float]
    recent: Sequence[Predictions]
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
    network = build_network(variant, settings.seed, settings.precision, dataset.images)
    training = _Training(network, settings, dataset, observers, checkpoints)
    for epoch in range(training.begin() + 1, settings.epochs + 1):
        training.train_epoch(epoch)
    return training.conclude()


@dataclass(eq=False)
class _Training:
    """A network on its way through the epochs: every batch guarded, every epoch evaluated and safe."""

    network: keras.Model
    settings: Settings
    dataset: Dataset
    observers: Sequence[Observer]
    checkpoints: Checkpoints | None

    def __post_init__(self) -> None:
        self.images = tf.constant(self.dataset.x_train)
        self.past: list[Epoch] = []
        self.evaluate = compile_evaluation(self.network)
        probe = stratify(self.dataset.y_train, min(PROBE_SIZE, len(self.dataset.y_train)))
        self.probe = tf.gather(self.images, probe), self.dataset.y_train[probe]
        self.test = tf.constant(self.dataset.x_test), self.dataset.y_test
        self.recent: dict[int, Predictions] = {}

    @functools.cached_property
    def step(self) -> Step:
        """Compiled when it is needed, as the optimiser's variables have no place in the network's summary."""
        targets = tf.one_hot(self.dataset.y_train, len(self.dataset.images.classes))
        return compile_step(self.network, self.images, targets, jit=self.settings.jit == "on")

    def begin(self) -> int:
        """Start at the beginning, or where the checkpoint left off; the number of epochs that are done."""
        if self.checkpoints and (start := self.checkpoints.start):
            try:
                self.recent, state = split_recent(start.arrays)
                restore_state(self.network, state)
            except ResumeError as error:
                raise ResumeError(f"{start.name} {error}") from error
            self.past.extend(start.epochs)
            for observer in self.observers:
                observer.resume_training(start.epochs, self.checkpoints.refused)
        else:
            for observer in self.observers:
                observer.begin_training(summarise_network(self.network), describe_runtime())
        self.show_kernels()
        return len(self.past)

    def show_kernels(self) -> None:
        """Show the kernels after the last epoch, if it is one of those to be shown."""
        if len(self.past) in (*SNAPSHOT_EPOCHS, self.settings.epochs):
            for observer in self.observers:
                observer.show_kernels(len(self.past), collect_kernels(self.network))

    def train_epoch(self, epoch: int) -> None:
        """Show every training image once; evaluate the weights, keep them safe and tell the observers."""
        started = time.perf_counter()
        running = self.show_images(epoch)
        trained = time.perf_counter()
        train, test = self.evaluate(*self.probe), self.evaluate(*self.test)
        measured = measure_epoch(*running, train, test, self.network)
        if not all(map(math.isfinite, measured.values())):
            raise TrainingError(f"the weights or the evaluation are no longer finite after epoch {epoch}")
        measured[metrics.TRAIN_SECONDS] = trained - started
        measured[metrics.EPOCH_SECONDS] = time.perf_counter() - started
        self.past.append(Epoch(measured, time.time_ns() // 1_000_000))
        if epoch > self.settings.epochs - RECENT:
            self.recent[epoch] = test.predictions
        if self.checkpoints:  # first, so that no store ever knows an epoch that would be trained again
            with interrupts.shield():
                self.checkpoints.save(self.past, {**collect_state(self.network), **join_recent(self.recent)})
        for observer in self.observers:
            observer.end_epoch(epoch, *self.past[-1])
        self.show_kernels()

    def show_images(self, epoch: int) -> tuple[float, float]:
        """Train on every batch of the epoch; the running means of loss and accuracy."""
        size, batch_size = len(self.dataset.y_train), self.settings.batch_size
        order = draw_order(self.settings.seed, epoch, size)
        seeds = draw_dropout_seeds(self.settings.seed, epoch, count_dropouts(self.network))
        batches = math.ceil(size / batch_size)
        total, right = 0.0, 0
        for batch in range(1, batches + 1):
            places = order[(batch - 1) * batch_size : batch * batch_size]
            loss, hits = (float(number) for number in self.step(places, batch, seeds))
            interrupts.check()
            if not math.isfinite(loss):
                raise TrainingError(f"the loss or a weight is no longer finite at epoch {epoch}, batch {batch}")
            total, right = total + loss * len(places), right + int(hits)
            for observer in self.observers:
                observer.end_batch(epoch, batch, batches)
        return total / size, right / size

    def conclude(self) -> Result:
        """The result with its finals: the last epoch's metrics, the honest training ones on all training images."""
        history = [epoch.metrics for epoch in self.past]
        last = dict(history[-1])
        if len(self.probe[1]) < len(self.dataset.y_train):
            train = self.evaluate(self.images, self.dataset.y_train)
            last[metrics.HONEST_TRAIN_LOSS] = train.loss
            last[metrics.HONEST_TRAIN_ACCURACY] = train.accuracy
            last[metrics.GAP_HONEST] = last[metrics.HONEST_TEST_LOSS] - train.loss
        last[metrics.EPOCH_SECONDS] = float(np.median([epoch[metrics.EPOCH_SECONDS] for epoch in history]))
        return Result(
            network=self.network,
            history=history,
            finals={metric.final: last[metric] for metric in metrics.BY_EPOCH if metric.lasting and metric in last},
            recent=[self.recent[epoch] for epoch in sorted(self.recent)],
            kernels=collect_kernels(self.network),
            weights_sha256=hash_weights(self.network),
        )


def join_recent(recent: Mapping[int, Predictions]) -> dict[str, Any]:
    """The predictions of epochs as arrays of a checkpoint."""
    return {
        f"{TEST}{epoch}-{name}": values for epoch, each in recent.items() for name, values in each._asdict().items()
    }


def split_recent(arrays: Arrays) -> tuple[dict[int, Predictions], Arrays]:
    """The predictions in a checkpoint's arrays, by epoch, and the other arrays."""
    epochs = {int(name.split("-")[1]) for name in arrays if name.startswith(TEST)}
    recent = {
        epoch: Predictions(**{name: arrays[f"{TEST}{epoch}-{name}"] for name in Predictions._fields})
        for epoch in epochs
    }
    return recent, {name: values for name, values in arrays.items() if not name.startswith(TEST)}


def measure_epoch(
    loss: float, accuracy: float, train: Evaluation, test: Evaluation, network: keras.Model
) -> dict[str, float]:
    """The metrics of one epoch (study/metrics.py), from its running means and what it evaluated."""
    test_loss = test.loss + measure_penalty(network)
    return {
        metrics.TRAIN_LOSS: loss,
        metrics.TRAIN_ACCURACY: accuracy,
        metrics.TEST_LOSS: test_loss,
        metrics.TEST_ACCURACY: test.accuracy,
        metrics.HONEST_TRAIN_LOSS: train.loss,
        metrics.HONEST_TRAIN_ACCURACY: train.accuracy,
        metrics.HONEST_TEST_LOSS: test.loss,
        metrics.GAP_NOTEBOOK: test_loss - loss,
        metrics.GAP_HONEST: test.loss - train.loss,
    }
