"""Every metric of a run, one row each: the name that MLflow knows, a label for people, and the unit.

`train/*` are running means over an epoch's batches, with dropout on and the L2 penalty in the loss; `test/loss` has the
penalty too, as the notebook reads them. `honest/*` are in evaluation mode without the penalty. A gap is test minus
train loss. Final metrics describe the weights after the last epoch, the honest training ones on all training images.
"""

from __future__ import annotations

from typing import Self


class Metric(str):
    """A metric's name, with its label and its unit ("" for a fraction)."""

    label: str
    unit: str

    def __new__(cls, name: str, label: str, unit: str = "") -> Self:
        """A text that is the name, and knows the rest."""
        metric = super().__new__(cls, name)
        metric.label, metric.unit = label, unit
        return metric

    @property
    def title(self) -> str:  # type: ignore[override]
        """Label and unit, as "test loss (nats)"."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


NATS, SECONDS = "nats", "s"
TRAIN_LOSS = Metric("train/loss", "train loss as fit reports it", NATS)
TRAIN_ACCURACY = Metric("train/accuracy", "train accuracy as fit reports it")
TEST_LOSS = Metric("test/loss", "test loss with penalty", NATS)
TEST_ACCURACY = Metric("test/accuracy", "test accuracy")
HONEST_TRAIN_LOSS = Metric("honest/train_loss", "train loss, evaluation mode", NATS)
HONEST_TRAIN_ACCURACY = Metric("honest/train_accuracy", "train accuracy, evaluation mode")
HONEST_TEST_LOSS = Metric("honest/test_loss", "test loss, evaluation mode", NATS)
GAP_NOTEBOOK = Metric("gap/notebook", "gap as the notebook reads it", NATS)
GAP_HONEST = Metric("gap/honest", "honest gap: test - train loss, evaluation mode", NATS)
TRAIN_SECONDS = Metric("time/train_seconds", "seconds of an epoch's training", SECONDS)
EPOCH_SECONDS = Metric("time/epoch_seconds", "seconds per epoch", SECONDS)
BY_EPOCH = (
    *(TRAIN_LOSS, TRAIN_ACCURACY, TEST_LOSS, TEST_ACCURACY),
    *(HONEST_TRAIN_LOSS, HONEST_TRAIN_ACCURACY, HONEST_TEST_LOSS),
    *(GAP_NOTEBOOK, GAP_HONEST, TRAIN_SECONDS, EPOCH_SECONDS),
)
"""Logged after every epoch, at the epoch's number as step."""


def name_final(metric: Metric) -> Metric:
    """The final metric of one that is logged by epoch: final/train_loss of train/loss."""
    name = metric if metric.startswith(("train/", "test/", "gap/")) else metric.partition("/")[2]
    prefix = "honest_" if metric.startswith("honest/") else ""
    return Metric(f"final/{prefix}{name.replace('/', '_')}", metric.label, metric.unit)


FINAL_TRAIN_LOSS = name_final(TRAIN_LOSS)
FINAL_TRAIN_ACCURACY = name_final(TRAIN_ACCURACY)
FINAL_TEST_LOSS = name_final(TEST_LOSS)
FINAL_TEST_ACCURACY = name_final(TEST_ACCURACY)
FINAL_HONEST_TRAIN_LOSS = name_final(HONEST_TRAIN_LOSS)
FINAL_HONEST_TRAIN_ACCURACY = name_final(HONEST_TRAIN_ACCURACY)
FINAL_HONEST_TEST_LOSS = name_final(HONEST_TEST_LOSS)
FINAL_GAP_NOTEBOOK = name_final(GAP_NOTEBOOK)
FINAL_GAP_HONEST = name_final(GAP_HONEST)
FINAL_EPOCH_SECONDS = name_final(EPOCH_SECONDS)
FINALS = (
    *(FINAL_TRAIN_LOSS, FINAL_TRAIN_ACCURACY, FINAL_TEST_LOSS, FINAL_TEST_ACCURACY),
    *(FINAL_HONEST_TRAIN_LOSS, FINAL_HONEST_TRAIN_ACCURACY, FINAL_HONEST_TEST_LOSS),
    *(FINAL_GAP_NOTEBOOK, FINAL_GAP_HONEST, FINAL_EPOCH_SECONDS),
)
"""Logged once, when the training has finished."""
