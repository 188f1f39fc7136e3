"""When a run begins to overfit, from the test loss in evaluation mode without penalty, and how many runs do so when.

Two curves are fitted to each run by least squares: one that falls, exponentially, to a floor, and the same with a hinge
from which it rises in a straight line. Decay rates and hinges are grids; for each pair the rest is linear, so thousands
of curves take seconds. The run begins to overfit if the hinge lowers the residual sum of squares by more than THRESHOLD
mean squares of what is left, and the curve with the hinge has risen by the smallest rise above its minimum at least 3
epochs before the end; the onset is the first epoch where it has. A run in which that is not seen has no onset.

The threshold lies just above the 95 % points of that statistic over plateaus of 8 to 50 epochs, with independent or
autoregressive noise (lag 1: .3), normal or with the tails of a t distribution of 3 degrees of freedom. What
the rule misses and misdates is in docs/rates.md.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pandas as pd

from pipeline.analysis.statistics import Array
from pipeline.errors import AnalysisError
from pipeline.study import metrics
from pipeline.study.claims import CONFIRMING_EPOCHS

THRESHOLD = 10.5
FEWEST_EPOCHS = 8  # below this the noise cannot be told from the curve
DECAYS = 16  # rates tried, from a factor of e in FASTEST epochs to one in E / SLOWEST
FASTEST, SLOWEST = 0.4, 2.5
HINGE_STEP = 1.0  # epochs
FREE = 5  # floor, height and rate of the fall, place and slope of the rise
CHUNK = 250  # curves fitted at once: some 30 MB
METRIC = metrics.HONEST_TEST_LOSS


def date_curves(curves: Array, smallest_rise: float) -> tuple[Array, Array]:
    """(onset, noise) of loss curves, shape (n, epochs), both of shape (n,).

    The onset is the epoch (from 1) at which a curve begins to overfit by the module's rule, nan where that is not seen;
    the noise is the SD of one epoch around the curve with the hinge, in the unit of the losses and of `smallest_rise`.
    """
    epochs = curves.shape[-1]
    if epochs < FEWEST_EPOCHS or not len(curves):
        return np.full(len(curves), np.nan), np.full(len(curves), np.nan)
    falling, hinged, fitted = _fit_curves(curves)
    lowest = fitted.argmin(axis=-1)
    risen = fitted > fitted.min(axis=-1, keepdims=True) + smallest_rise
    risen &= np.arange(epochs) > lowest[:, None]
    first = risen.argmax(axis=-1) + 1.0
    seen = risen.any(axis=-1) & (first <= epochs - CONFIRMING_EPOCHS)
    seen &= falling - hinged > THRESHOLD * hinged / (epochs - FREE)
    return np.where(seen, first, np.nan), np.sqrt(hinged / (epochs - FREE))


def _fit_curves(curves: Array) -> tuple[Array, Array, Array]:
    """Least squares of curves (n, epochs): the residual sums without and with a hinge (n,), and the latter's curves."""
    without, hinged = _list_shapes(curves.shape[-1])
    middle = curves.mean(axis=-1, keepdims=True)  # taken off, so that squares of small residuals keep their digits
    parts = np.array_split(curves - middle, -(-len(curves) // CHUNK) or 1)
    falling = np.concatenate([_find_best(part, without)[0] for part in parts])
    rising, fitted = (
        np.concatenate(found) for found in zip(*(_find_best(part, hinged) for part in parts), strict=True)
    )
    return falling, np.minimum(rising, falling), fitted + middle


def _find_best(curves: Array, shapes: Array) -> tuple[Array, Array]:
    """The least residual sum of squares of each curve over `shapes`, with the fitted curve.

    `shapes` are (shapes, epochs, columns): a constant, and columns that may only have a positive weight, or are 0.
    """
    count, epochs, columns = shapes.shape
    weights = curves @ np.linalg.pinv(shapes).reshape(-1, epochs).T
    explained = (weights * (curves @ shapes.transpose(0, 2, 1).reshape(-1, epochs).T)).reshape(-1, count, columns)
    weights = weights.reshape(-1, count, columns)
    absent = ~shapes.any(axis=1)
    allowed = (weights > 0) | absent
    possible = np.asarray(allowed[:, :, 1:].all(axis=-1))
    total: Array = (curves**2).sum(axis=-1, keepdims=True)
    residual = total - explained.sum(axis=-1)
    best = np.where(possible, residual, np.inf).argmin(axis=-1)
    rows = np.arange(len(curves))
    least = np.where(possible[rows, best], np.maximum(residual[rows, best], 0), np.inf)
    return least, np.einsum("nek,nk->ne", shapes[best], weights[rows, best])


@cache
def _list_shapes(epochs: int) -> tuple[Array, Array]:
    """The columns of every curve that is tried for so many epochs: without a hinge, and with one."""
    epoch = np.arange(1.0, epochs + 1)
    rates = np.geomspace(FASTEST, max(epochs / SLOWEST, 2.0), DECAYS)
    none = np.zeros(epochs)
    single = [np.exp(-(epoch - 1) / rate) for rate in rates]
    # two neighbours in any proportion stand for the rates between them
    falls = [(none, none), *((fall, none) for fall in single), *itertools.pairwise(single)]
    places = np.arange(2.0, epochs - CONFIRMING_EPOCHS + HINGE_STEP / 2, HINGE_STEP)
    rises = [np.maximum(0.0, epoch - place) for place in places]
    one = np.ones(epochs)
    without = np.array([np.column_stack([one, none, *fall]) for fall in falls])
    return without, np.array([np.column_stack([one, rise, *fall]) for rise in rises for fall in falls])


def find_hiding_noise(onsets: pd.DataFrame, smallest_rise: float) -> float:
    """The noise of the median run (nats, SD of an epoch) where it hides such a rise, else 0; `onsets` by find_onsets.

    A share of the runs in which an onset was seen then means nothing: a true one could come out as refuted.
    """
    noise = float(onsets["noise"].median())
    return noise if noise > smallest_rise else 0.0


def find_onsets(history: pd.DataFrame, smallest_rise: float = 0.0) -> pd.DataFrame:
    """Onset of every run with a whole curve of honest/test_loss in `history` (run_id, metric, epoch, value).

    Returns a frame indexed by run_id: `epochs` (last epoch seen), `onset` (epoch; nan where none was seen), `noise`
    (nats, SD of an epoch; nan below FEWEST_EPOCHS). A run whose curve has gaps or values that are not finite has no
    row. Raises AnalysisError if an epoch of a run is there twice.
    """
    curves = history[history["metric"] == METRIC]
    if curves.duplicated(["run_id", "epoch"]).any():
        raise AnalysisError(f"the history has an epoch of {METRIC} twice; remove the second run of that id")
    whole: dict[int, dict[str, Array]] = {}
    for run_id, curve in curves.sort_values("epoch").groupby("run_id", observed=True):
        losses = curve["value"].to_numpy(dtype=float)
        if curve["epoch"].to_numpy()[-1] == len(losses) and np.isfinite(losses).all():
            whole.setdefault(len(losses), {})[str(run_id)] = losses
    rows: list[tuple[str, int, float, float]] = []
    for epochs, own in whole.items():  # all curves of one length at once
        losses = np.array(list(own.values()))
        rows += zip(own, [epochs] * len(own), *date_curves(losses, smallest_rise), strict=True)
    return pd.DataFrame(rows, columns=["run_id", "epochs", "onset", "noise"]).set_index("run_id").sort_index()
