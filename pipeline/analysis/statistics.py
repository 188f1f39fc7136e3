"""Estimates over seeds: intervals, exact tests, correction for many claims, and the comparison of all pairs.

The seed is the block. Every array here has one value a seed, already contrasted within that seed, so that the values
are independent and one-sample methods hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special  # scipy.stats takes a second to import

from pipeline.errors import AnalysisError

Array = npt.NDArray[np.float64]

EXACT_SEEDS = 12  # up to here all 2^n sign flips are tried, 4,096 at most
FLIPS = 9999  # drawn above that
VALUES = 4_000_000  # differences held at once while labels are permuted: 32 MB an array


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over `n` seeds with the SD of one seed; `sd` is nan below two seeds."""

    mean: float
    sd: float
    n: int

    def interval(self, alpha: float) -> tuple[float, float]:
        """Two-sided 1 - alpha t-interval of the mean; nan below two seeds."""
        half = -float(special.stdtrit(self.n - 1, alpha / 2)) * self.sd / self.n**0.5 if self.n > 1 else np.nan
        return self.mean - half, self.mean + half

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided p of the t test that the mean is `null`; nan without a spread to hold it against."""
        if self.n < 2 or self.sd == 0:
            return float("nan")
        return float(2 * special.stdtr(self.n - 1, -abs(self.mean - null) / self.sd * self.n**0.5))


def estimate_mean(values: npt.ArrayLike, least_sd: float = 0.0) -> Estimate:
    """The mean of one value a seed, shape (n,); its SD is held to be at least `least_sd`."""
    seeds = np.asarray(values, dtype=float)
    if len(seeds) < 2:
        return Estimate(mean=float(seeds[0]) if len(seeds) else float("nan"), sd=float("nan"), n=len(seeds))
    # rounding must not pass for a spread
    spread = 0.0 if np.ptp(seeds) <= 1e-12 * np.abs(seeds).max() else float(seeds.std(ddof=1))
    return Estimate(mean=float(seeds.mean()), sd=max(spread, least_sd), n=len(seeds))


def t_interval(values: npt.ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high) of values over seeds, shape (n,); the bounds are nan below two values."""
    estimate = estimate_mean(values)
    return estimate.mean, *estimate.interval(1 - level)


def permute_signs(values: npt.ArrayLike, seed: int = 0) -> float:
    """Two-sided p of the sign-flip test that per-seed values, shape (n,), lie symmetrically around 0.

    Exact over all 2^n flips up to 12 seeds (so never below 2 / 2^n), 9,999 random flips drawn from `seed` above that.
    nan below two seeds.
    """
    effects = np.asarray(values, dtype=float)
    n = len(effects)
    if n < 2:
        return float("nan")
    exact = n <= EXACT_SEEDS
    if exact:
        signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    else:
        signs = 1 - 2 * np.random.default_rng(seed).integers(0, 2, size=(FLIPS, n), dtype=np.int8)
    # the same sum in another order of rounding is as far from 0
    as_far = np.abs(signs @ effects) >= abs(effects.sum()) - 1e-12 * np.abs(effects).sum()
    return float(as_far.mean() if exact else (1 + as_far.sum()) / (1 + FLIPS))


def weigh_agreement(agree: int, twins: int) -> float:
    """Two-sided exact binomial p of `agree` of `twins` pointing one way by chance; nan without twins."""
    if not twins:
        return float("nan")
    tail = sum(math.comb(twins, more) for more in range(max(agree, twins - agree), twins + 1))
    return min(1.0, tail / (1 << twins - 1))


def adjust_holm(p_values: Sequence[float], alpha: float) -> tuple[Array, Array]:
    """Holm-adjusted p of a family, and the alpha at which each of its intervals says the same as the adjusted p.

    A rejected hypothesis has the alpha of its own step, alpha / (m - i); the others share that of the step at which
    the procedure stopped. So an interval excludes its null exactly where the adjusted p is at most alpha. A nan (a
    claim that cannot be tested) keeps its place in the family and is never rejected.
    """
    known = np.nan_to_num(np.asarray(p_values, dtype=float), nan=1.0)
    ranks = known.argsort(kind="stable").argsort(kind="stable")
    steps = np.maximum.accumulate(np.sort(known) * (len(known) - np.arange(len(known))))
    adjusted = np.minimum(steps, 1)[ranks]
    stopped = np.minimum(ranks, (adjusted <= alpha).sum())
    levels = alpha / np.maximum(len(known) - stopped, 1)
    return np.where(np.isnan(p_values), np.nan, adjusted), levels


def estimate_reduction(
    treated: npt.ArrayLike, control: npt.ArrayLike, alpha: float = 0.05
) -> tuple[float, float, float]:
    """1 - treated / control with its t-interval, by the log-ratio within each seed; both of shape (n,).

    Where a value is not positive a ratio has no meaning: three nan.
    """
    above, below = np.asarray(treated, dtype=float), np.asarray(control, dtype=float)
    if len(above) == 0 or min(above.min(), below.min()) <= 0:
        return float("nan"), float("nan"), float("nan")
    mean, low, high = t_interval(np.log(above / below), 1 - alpha)
    return float(-np.expm1(mean)), float(-np.expm1(high)), float(-np.expm1(low))


def compare_all_pairs(values: pd.DataFrame, permutations: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Every pair of variants, as exploration: p adjusted for all pairs by the maximum of |t| (Westfall and Young).

    `values` has a row a seed and a column a variant, without gaps. Labels are permuted within each seed, which is what
    the null of no difference at all between the variants allows. Returns first, second, difference (mean of first minus
    second), p (paired t), p_adjusted and n_seeds, a row a pair. Raises AnalysisError below two seeds or variants.
    """
    blocks = values.to_numpy(dtype=float)
    if min(blocks.shape) < 2 or not np.isfinite(blocks).all():
        raise AnalysisError("all pairs need two seeds and two variants without gaps; run the missing cells first")
    first, second = np.triu_indices(blocks.shape[1], 1)
    observed = _paired_t(blocks[None], first, second)[0]
    rng = np.random.default_rng(seed)
    size = max(1, VALUES // (len(blocks) * len(first)))  # as many permutations at once as memory is meant for
    exceed = np.zeros(len(first), dtype=int)
    for done in range(0, permutations, size):
        shuffled = rng.permuted(np.broadcast_to(blocks, (min(size, permutations - done), *blocks.shape)), axis=-1)
        largest = _paired_t(shuffled, first, second).max(axis=-1)
        exceed += (largest[:, None] >= observed - 1e-9).sum(axis=0)
    return pd.DataFrame(
        {
            "first": values.columns[first],
            "second": values.columns[second],
            "difference": (blocks[:, first] - blocks[:, second]).mean(axis=0),
            "p": 2 * special.stdtr(len(blocks) - 1, -observed),
            "p_adjusted": (1 + exceed) / (1 + permutations),
            "n_seeds": len(blocks),
        }
    )


def _paired_t(blocks: Array, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]) -> Array:
    """|t| of each pair, shape (studies, pairs), from blocks (studies, seeds, variants); 0 where all is equal."""
    differences = blocks[..., first] - blocks[..., second]
    error = differences.std(axis=-2, ddof=1) / blocks.shape[-2] ** 0.5
    mean = np.abs(differences.mean(axis=-2))
    t: Array = np.divide(mean, error, out=np.where(mean > 0, np.inf, 0.0), where=error > 0)
    return t
