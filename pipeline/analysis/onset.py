"""When a run begins to overfit, from the test loss in evaluation mode without penalty, and how many runs do so when.

The rule: smooth the loss with a centred 3-epoch mean; estimate the noise sigma of one epoch from third differences,
which a slow trend leaves alone, without their first third, where the loss falls steeply; the onset is the first epoch
from which the smoothed loss stays more than the margin, max(smallest rise, 2.3 sigma), above its minimum, to the end
and for at least 3 smoothed epochs. A run in which that is not seen is right-censored at its last epoch. A naive rule
(the last loss is above the minimum) fires on most plateaus; this one on at most 5 % of plateaus of pure noise for 8 to
50 epochs, with no smallest rise at all, and of falling curves. A rise of 2 sigma an epoch or more is dated within one
epoch of where the curve without its noise passes the margin in 9 of 10 runs, whether the loss fell by 0.1 or by 1.5
nats before, if that is 4 or more epochs before the last (simulated in the tests for 18 and 25 epochs, where the fall is
by a factor of e in 1.5 to 2.5 epochs). The margin of a noisy run is wide: it hides small rises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from pipeline.analysis.statistics import Array
from pipeline.errors import AnalysisError
from pipeline.study.claims import CONFIRMING_EPOCHS

NOISE_FACTOR = 2.3
DESCENT = 3  # one in so many of the third differences, the first ones, says more of the descent than of the noise
FEWEST_EPOCHS = 8  # below this the noise cannot be told from the curve
METRIC = "honest/test_loss"


@dataclass(frozen=True, kw_only=True)
class OnsetShare:
    """Share of `n` runs with their onset in epochs `first` to `last`, with its interval; `censored` runs have none."""

    first: int
    last: int
    share: float
    low: float
    high: float
    n: int
    censored: int


def find_margin(losses: npt.ArrayLike, smallest_rise: float = 0.0) -> Array:
    """How far each loss curve must rise above its minimum to be told from noise, never less than `smallest_rise`.

    `losses` has shape (..., epochs), of FEWEST_EPOCHS or more; returns shape (...), in the unit of the losses.
    """
    jerks = np.diff(np.asarray(losses, dtype=float), 3, axis=-1)
    # a third difference of independent noise has 1 + 9 + 9 + 1 times its variance
    sigma = np.sqrt((jerks[..., jerks.shape[-1] // DESCENT :] ** 2).mean(axis=-1) / 20)
    margin: Array = np.maximum(smallest_rise, NOISE_FACTOR * sigma)
    return margin


def locate_onset(losses: npt.ArrayLike, smallest_rise: float = 0.0) -> Array:
    """Epoch (from 1) at which each loss curve begins to overfit by the module's rule; nan where that is not seen.

    `losses` has shape (..., epochs), `smallest_rise` its unit (nats); returns shape (...).
    """
    curves = np.asarray(losses, dtype=float)
    if curves.shape[-1] < FEWEST_EPOCHS:
        return np.full(curves.shape[:-1], np.nan)
    smooth = (curves[..., :-2] + curves[..., 1:-1] + curves[..., 2:]) / 3
    above = smooth > (smooth.min(axis=-1) + find_margin(curves, smallest_rise))[..., None]
    stays = np.flip(np.logical_and.accumulate(np.flip(above, -1), axis=-1), -1)
    # index 0 of the smoothed curve is epoch 2
    onset: Array = np.where(stays[..., -CONFIRMING_EPOCHS], stays.argmax(axis=-1) + 2.0, np.nan)
    return onset


def find_onsets(history: pd.DataFrame, smallest_rise: float = 0.0) -> pd.DataFrame:
    """Onset of every run with a whole curve of honest/test_loss in `history` (run_id, metric, epoch, value).

    Returns a frame indexed by run_id: `epochs` (last epoch seen), `onset` (epoch; nan where censored), `margin` (nats
    above the minimum that count as a rise; nan below FEWEST_EPOCHS). A run whose curve has gaps or values that are not
    finite has no row. Raises AnalysisError if an epoch of a run is there twice.
    """
    curves = history[history["metric"] == METRIC]
    if curves.duplicated(["run_id", "epoch"]).any():
        raise AnalysisError(f"the history has an epoch of {METRIC} twice; remove the second run of that id")
    rows: list[tuple[str, int, float, float]] = []
    for run_id, curve in curves.sort_values("epoch").groupby("run_id"):
        losses = curve["value"].to_numpy(dtype=float)
        whole = curve["epoch"].to_numpy()[-1] == len(losses) and np.isfinite(losses).all()
        if whole:
            margin = float(find_margin(losses, smallest_rise)) if len(losses) >= FEWEST_EPOCHS else float("nan")
            rows.append((str(run_id), len(losses), float(locate_onset(losses, smallest_rise)), margin))
    return pd.DataFrame(rows, columns=["run_id", "epochs", "onset", "margin"]).set_index("run_id")


def estimate_onset_share(onsets: pd.DataFrame, first: int, last: int, level: float = 0.95) -> OnsetShare:
    """Share of runs with their onset in epochs `first` to `last` (Kaplan-Meier), with its log-log interval.

    `onsets` as find_onsets gives it. A run that overfits outside the window can no longer do so within, so it counts as
    watched to its last epoch without the event (the cumulative incidence of the window). The interval takes runs as
    independent. Where all or none have the event, the exact binomial interval stands in for the log-log one.
    """
    inside = onsets["onset"].between(first, last).to_numpy()
    if not len(inside):
        raise AnalysisError("no run has a whole curve of honest/test_loss; train at least one to its last epoch")
    times = onsets["onset"].where(inside, onsets["epochs"]).to_numpy(dtype=float)
    moments, events = np.unique(times[inside], return_counts=True)
    watched = (times >= moments[:, None]).sum(axis=-1)
    survival = float(np.prod(1 - events / watched))
    if survival in (0, 1):
        low, high = _bound_binomial(int(inside.sum()), len(inside), level)
    else:
        hazard = -math.log(survival)
        error = math.sqrt((events / (watched * (watched - events))).sum()) / hazard  # Greenwood's, of log hazard
        spread = float(special.ndtri((1 + level) / 2)) * error
        low, high = (1 - math.exp(-hazard * math.exp(side)) for side in (-spread, spread))
    return OnsetShare(
        first=first,
        last=last,
        share=1 - survival,
        low=low,
        high=high,
        n=len(inside),
        censored=int(onsets["onset"].isna().sum()),
    )


def _bound_binomial(events: int, n: int, level: float) -> tuple[float, float]:
    """The exact interval of Clopper and Pearson of the share events / n."""
    tail = (1 - level) / 2
    low = float(special.betaincinv(events, n - events + 1, tail)) if events else 0.0
    high = float(special.betaincinv(events + 1, n - events, 1 - tail)) if events < n else 1.0
    return low, high
