"""Estimates over seeds: intervals, exact tests, power, correction for many claims, and the comparison of all pairs.

The seed is the block. Every array here has one value a seed, already contrasted within that seed, so that the values
are independent and one-sample methods hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy  # scipy.stats takes a second to import, so it is reached by its full name, where it is used
from scipy import special

from pipeline.study import metrics
from pipeline.study.claims import FEWEST_SEEDS

Array = npt.NDArray[np.float64]

ALPHA = 0.05
FEWEST_SEEDS_TO_EXPLORE = 3
MOST_SEEDS = 10_000
FLIPPED = 10**6  # signs that are drawn at once, which bounds the memory
FLIPS = 9999  # above 13 seeds there are more sign flips than these, so they are drawn


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over `n` seeds with the SD of one seed, the standard `error` of the mean and its degrees of freedom.

    `sd` and `error` are nan below two seeds. Beyond the seeds the error may cover test images (claims.images); the
    interval is then never narrower, nor p smaller, than with the seeds alone.
    """

    mean: float
    sd: float
    n: int
    error: float
    df: float
    seeds_alone: Estimate | None = None

    @property
    def lasting(self) -> float:
        """The part of the error's variance that more seeds do not lower: that of the images, 0 over seeds alone."""
        return max(0.0, self.error**2 - self.sd**2 / self.n) if self.seeds_alone else 0.0

    def half_width(self, alpha: float) -> float:
        """Half of the two-sided 1 - alpha t-interval; nan below two seeds."""
        half = -float(special.stdtrit(self.df, alpha / 2)) * self.error if self.n > 1 else float("nan")
        return max(half, self.seeds_alone.half_width(alpha)) if self.seeds_alone else half

    def interval(self, alpha: float) -> tuple[float, float]:
        """Two-sided 1 - alpha t-interval of the mean; nan below two seeds."""
        half = self.half_width(alpha)
        return self.mean - half, self.mean + half

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided p of the t test that the mean is `null`; nan without a spread to hold it against."""
        if self.n < 2 or self.error == 0:
            return float("nan")
        p = float(2 * special.stdtr(self.df, -abs(self.mean - null) / self.error))
        return max(p, self.seeds_alone.p_value(null)) if self.seeds_alone else p


def estimate_mean(values: npt.ArrayLike, least_sd: float = 0.0) -> Estimate:
    """The mean of one value a seed, shape (n,); its SD is held to be at least `least_sd`."""
    seeds = np.asarray(values, dtype=float)
    n = len(seeds)
    if n < 2:
        nan = float("nan")
        return Estimate(mean=float(seeds[0]) if n else nan, sd=nan, n=n, error=nan, df=0)
    # rounding must not pass for a spread
    spread = 0.0 if np.ptp(seeds) <= 1e-12 * np.abs(seeds).max() else float(seeds.std(ddof=1))
    sd = max(spread, least_sd)
    return Estimate(mean=float(seeds.mean()), sd=sd, n=n, error=sd / n**0.5, df=n - 1)


def t_interval(values: npt.ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high) of values over seeds, shape (n,); the bounds are nan below two values."""
    estimate = estimate_mean(values)
    return estimate.mean, *estimate.interval(1 - level)


def permute_signs(values: npt.ArrayLike) -> float:
    """Two-sided p of the sign-flip test that per-seed values, shape (n,), lie symmetrically around 0.

    Exact up to 13 seeds (so never below 2 / 2^n), from FLIPS random flips above that. nan below two seeds.
    """
    effects = np.asarray(values, dtype=float)
    if len(effects) < 2:
        return float("nan")
    if not effects.any():
        return 1.0
    found = scipy.stats.permutation_test(
        (effects,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=FLIPS,
        batch=max(1, FLIPPED // len(effects)),
        rng=0,
    )
    return float(found.pvalue)


def bound_sd(sd: float, n: int) -> float:
    """Upper 80 % confidence limit of an SD that was estimated from `n` seeds: an SD is easily underestimated."""
    return sd * float(np.sqrt((n - 1) / special.chdtri(n - 1, 0.8)))


def count_seeds(
    sd: float, smallest_effect: float, alpha: float = 0.05, lasting: float = 0.0, power: float = 0.8
) -> int | None:
    """Fewest seeds at which a two-sided one-sample t test finds `smallest_effect`, on its own side, with this power.

    `sd` is that of one seed, in the unit of the effect, `lasting` a variance that more seeds do not lower. Never below
    FEWEST_SEEDS; None above MOST_SEEDS, if no number is enough or if unknown.
    """
    if not sd >= 0:
        return None
    # the normal approximation is a few seeds too low, never too high
    room = (smallest_effect / (special.ndtri(1 - alpha / 2) + special.ndtri(power))) ** 2 - lasting
    if room <= 0 or sd**2 / room > MOST_SEEDS:
        return None
    seeds = np.arange(max(FEWEST_SEEDS, int(sd**2 / room)), MOST_SEEDS + 50)
    seeds = seeds if lasting else seeds[:50]
    enough = seeds[_find_powers(smallest_effect, _find_errors(sd, lasting, seeds), seeds, alpha) >= power]
    return int(enough[0]) if enough.size else None


def find_power(sd: float, effect: float, seeds: int, alpha: float = 0.05, lasting: float = 0.0) -> float:
    """Chance that a two-sided one-sample t test finds `effect` on its own side with so many seeds of this SD.

    `lasting` as in count_seeds.
    """
    number = np.array([seeds])
    return float(_find_powers(effect, _find_errors(sd, lasting, number), number, alpha)[0])


def find_power_of_none(sd: float, smallest_effect: float, seeds: int, alpha: float = 0.05) -> float:
    """About the chance that, without any effect, the 1 - alpha interval lies within `smallest_effect` of 0."""
    room = smallest_effect / sd * seeds**0.5 + special.stdtrit(seeds - 1, alpha / 2)
    return max(0.0, float(2 * special.stdtr(seeds - 1, room) - 1))


def _find_errors(sd: float, lasting: float, seeds: npt.NDArray[np.int_]) -> Array:
    """The standard error of the mean, for each number of seeds."""
    errors: Array = np.sqrt(lasting + sd**2 / seeds)
    return errors


def _find_powers(effect: float, errors: Array, seeds: npt.NDArray[np.int_], alpha: float) -> Array:
    """The power to find `effect` with these errors, for each number of seeds."""
    critical = -special.stdtrit(seeds - 1, alpha / 2)
    with np.errstate(divide="ignore"):
        powers = 1 - special.nctdtr(seeds - 1, effect / errors, critical)  # one-sided: a noncentral t
    # far out in the tail the distribution is nan, where the power is 1 in every printed digit
    known: Array = np.nan_to_num(powers, nan=1.0)
    return known


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


def estimate_reduction(treated: npt.ArrayLike, control: npt.ArrayLike) -> tuple[float, float, float]:
    """1 - treated / control with its 95 % t-interval, by the log-ratio within each seed; both of shape (n,).

    Where a value is not positive a ratio has no meaning: three nan.
    """
    above, below = np.asarray(treated, dtype=float), np.asarray(control, dtype=float)
    if len(above) == 0 or min(above.min(), below.min()) <= 0:
        return float("nan"), float("nan"), float("nan")
    mean, low, high = t_interval(np.log(above / below))
    return float(-np.expm1(mean)), float(-np.expm1(high)), float(-np.expm1(low))


def tabulate_errors(runs: pd.DataFrame, fewest_seeds: int = FEWEST_SEEDS_TO_EXPLORE) -> pd.DataFrame | None:
    """Test errors of one run a variant and seed: a row a seed that all variants have, a column a variant.

    None below so many seeds or below two variants.
    """
    errors = 1 - runs.pivot(index="seed", columns="variant", values=metrics.TEST_ACCURACY.final).dropna()
    return errors if len(errors) >= fewest_seeds and errors.shape[1] > 1 else None


def count_best(runs: pd.DataFrame) -> tuple[Mapping[str, int], int]:
    """(variant -> with how many seeds it has the lowest test error, number of seeds), of the seeds that all have.

    Variants that tie count all; empty below two seeds or variants.
    """
    errors = tabulate_errors(runs, fewest_seeds=2)
    if errors is None:
        return {}, 0
    wins = errors.le(errors.min(axis=1), axis=0).sum()
    ranked = wins[wins > 0].sort_values(ascending=False, kind="stable")
    return {str(name): int(count) for name, count in ranked.items()}, len(errors)


def compare_all_pairs(values: pd.DataFrame) -> pd.DataFrame:
    """Every pair of variants, as exploration: paired t tests over seeds, adjusted for all pairs by Holm's procedure.

    `values` has a row a seed and a column a variant, two or more of either, without gaps. Returns first, second,
    difference (mean of first minus second), p, p_adjusted and n_seeds, a row a pair. Two variants that are equal in all
    seeds have p 1.
    """
    blocks = values.to_numpy(dtype=float)
    first, second = np.triu_indices(blocks.shape[1], 1)
    differences = blocks[:, first] - blocks[:, second]
    error = differences.std(axis=0, ddof=1) / len(blocks) ** 0.5
    mean = np.abs(differences.mean(axis=0))
    t = np.divide(mean, error, out=np.where(mean > 0, np.inf, 0.0), where=error > 0)
    p = 2 * special.stdtr(len(blocks) - 1, -t)
    return pd.DataFrame(
        {
            "first": values.columns[first],
            "second": values.columns[second],
            "difference": differences.mean(axis=0),
            "p": p,
            "p_adjusted": adjust_holm(p, ALPHA)[0],
            "n_seeds": len(blocks),
        }
    )


def find_ties(values: pd.DataFrame) -> set[str]:
    """Which columns of `values` (as for compare_all_pairs) cannot be told from the one with the lowest mean.

    The lowest itself is among them.
    """
    pairs = compare_all_pairs(values)
    best = str(values.mean().idxmin())
    apart = pairs[pairs["p_adjusted"] <= ALPHA]
    worse = set(apart.loc[apart["first"] == best, "second"]) | set(apart.loc[apart["second"] == best, "first"])
    return set(map(str, values.columns)) - set(map(str, worse))
