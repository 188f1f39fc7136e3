"""Every metric of a run, one row each: the name that MLflow knows, what people call it, its unit, which way is better.

`train/*` are running means over an epoch's batches, with dropout on and the L2 penalty in the loss; `test/loss` has the
penalty too, as the notebook reads them. `honest/*` are in evaluation mode without the penalty. A gap is test minus
train loss. Final metrics describe the weights after the last epoch, the honest training ones on all training images.
"""

from __future__ import annotations

from typing import Literal, Self

Better = Literal["", "lower", "higher"]


class Metric(str):
    """A metric's name that knows the rest of its row; a copy of it is the name alone.

    `unit` is "" for a fraction. `better` says which way is better, where one is. `column` is its final's column in the
    table of `compare --truth`. `reported` says whether a report lists its final for every run, `lasting` whether there
    is a final at all, `later` whether runs of earlier versions do not have it.
    """

    label: str
    unit: str
    better: Better
    column: str
    reported: bool
    lasting: bool
    later: bool

    def __new__(cls, name: str, label: str, unit: str = "", **more: bool | str) -> Self:
        """A text that is the name; `more` as said above, raises TypeError for anything else."""
        metric = super().__new__(cls, name)
        row = {"better": "", "column": "", "reported": True, "lasting": True, "later": False}
        if unknown := set(more) - set(row):
            raise TypeError(f"a metric has no {', '.join(sorted(unknown))}; choose one of {', '.join(row)}")
        vars(metric).update(row, label=label, unit=unit, **more)
        return metric

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """What is copied or sent to another process."""
        return str, (str(self),)

    @property
    def title(self) -> str:  # type: ignore[override]
        """Label and unit, as "test loss (nats)"."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def final(self) -> Metric:
        """The metric of the last weights, which is logged once: final/train_loss of train/loss."""
        name = self if self.startswith(("train/", "test/", "gap/")) else self.partition("/")[2]
        prefix = "honest_" if self.startswith("honest/") else ""
        return Metric(f"final/{prefix}{name.replace('/', '_')}", **vars(self))


NATS, SECONDS = "nats", "s"
TRAIN_LOSS = Metric("train/loss", "train loss as fit reports it", NATS, better="lower")
TRAIN_ACCURACY = Metric("train/accuracy", "train accuracy as fit reports it", better="higher", reported=False)
TEST_LOSS = Metric("test/loss", "test loss with penalty", NATS, better="lower")
TEST_ACCURACY = Metric("test/accuracy", "test accuracy", better="higher")
HONEST_TRAIN_LOSS = Metric("honest/train_loss", "train loss, evaluation mode", NATS, better="lower")
HONEST_TRAIN_ACCURACY = Metric(
    "honest/train_accuracy", "train accuracy, evaluation mode", better="higher", reported=False
)
HONEST_TEST_LOSS = Metric("honest/test_loss", "test loss, evaluation mode", NATS, better="lower")
GAP_NOTEBOOK = Metric("gap/notebook", "gap as the notebook reads it", NATS, reported=False)
GAP_HONEST = Metric("gap/honest", "honest gap: test - train loss, evaluation mode", NATS, column="honest gap")
TRAIN_SECONDS = Metric("time/train_seconds", "training time per epoch", SECONDS, better="lower", lasting=False)
EPOCH_SECONDS = Metric(
    "time/epoch_seconds", "time per epoch", SECONDS, better="lower", column="seconds per epoch", reported=False
)

BY_EPOCH = tuple(row for row in list(vars().values()) if isinstance(row, Metric))
"""All rows in order: logged after every epoch, at the epoch's number as step."""
FINALS = tuple(row.final for row in BY_EPOCH if row.lasting)
"""Logged once, when the training has finished."""
LATER = tuple(metric for metric in FINALS if metric.later)
"""Those that runs of earlier versions do not have; where no run has one, a table is as it was before."""


def format_value(name: str, value: float | None) -> str:
    """A metric's value as people read it: an accuracy in per cent, a loss or gap to 4 decimals; "-" for none."""
    if value is None or value != value:
        return "-"
    if name.endswith("accuracy"):
        return f"{100 * value:.2f} %"
    return f"{value:+.4f}" if "gap" in name else f"{value:.4f}"
