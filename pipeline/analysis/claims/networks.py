"""Beyond the twins at hand: the effect of each twin, and what they say of the mean over networks and of a new one.

The mean over networks is a random-effects mean by Paule and Mandel, its interval that of Hartung, Knapp, Sidik and
Jonkman (never narrower than with the within-twin variances alone), the prediction for a new network that of Higgins,
Thompson and Spiegelhalter (2009) with one degree of freedom less. Twins count as independent; of a few twins either is
suggestive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from scipy import special

from pipeline.analysis.claims.contrasts import Blocks, find_null, find_sign
from pipeline.analysis.statistics import Array, t_interval
from pipeline.study.claims import Claim

FEWEST_TWINS = 3
TAIL = (1 - 0.95) / 2
ENOUGH_TWINS = 10
"""Below this what is said of other networks is called suggestive."""


@dataclass(frozen=True, kw_only=True)
class TwinEffect:
    """One twin's effect over the seeds, with its 95 % t-interval (nan below two seeds); `agrees` with the claim."""

    twin: str
    depth: int
    kernel: int
    effect: float
    low: float
    high: float
    agrees: bool


@dataclass(frozen=True, kw_only=True)
class Across:
    """The mean (or slope) over networks of which `twins` are a sample, its interval, and the prediction for one more.

    All at 95 %; a slope predicts no single network, so its prediction is nan.
    """

    twins: int
    mean: float
    low: float
    high: float
    new_low: float
    new_high: float


def list_twins(claim: Claim, blocks: Blocks) -> tuple[TwinEffect, ...]:
    """The effect of each twin (of an arm: its level), named after the variant that the claim is about."""
    found = []
    for (plain, regularised), effects in zip(blocks.twins, blocks.effects.T, strict=True):
        mean, low, high = t_interval(effects)
        agrees = (mean - find_null(claim)) * find_sign(claim) > 0
        row = plain if blocks.arms[0] else regularised
        found.append(
            TwinEffect(
                twin=row.name,
                depth=row.depth_counted,
                kernel=row.kernel,
                effect=mean,
                low=low,
                high=high,
                agrees=bool(agrees),
            )
        )
    return tuple(found)


def reach_across(effects: Array) -> Across | None:
    """What `effects`, shape (seeds, twins), say of other networks; None below two seeds or FEWEST_TWINS twins."""
    seeds, twins = effects.shape
    if seeds < 2 or twins < FEWEST_TWINS:
        return None
    means, variances = effects.mean(axis=0), effects.var(axis=0, ddof=1) / seeds
    variances = np.maximum(variances, 1e-12 * max(float(means.var()), 1e-12))
    between = _find_between(means, variances)
    weights = 1 / (variances + between)
    mean = float((weights * means).sum() / weights.sum())
    stretch = max(1.0, float((weights * (means - mean) ** 2).sum() / (twins - 1)))
    error = (stretch / weights.sum()) ** 0.5
    half = -float(special.stdtrit(twins - 1, TAIL)) * error
    new = -float(special.stdtrit(twins - 2, TAIL)) * (between + error**2) ** 0.5
    return Across(twins=twins, mean=mean, low=mean - half, high=mean + half, new_low=mean - new, new_high=mean + new)


def reach_slope(effects: Array, factor: Array) -> Across | None:
    """What the slope of twins' effects, shape (seeds, twins), over their `factor` says of other networks.

    The line through the twins' means, with their scatter around it as the error; None below FEWEST_TWINS twins or
    without a scatter. It predicts no single network.
    """
    twins = effects.shape[1]
    if twins < FEWEST_TWINS or len(set(factor.tolist())) < FEWEST_TWINS:
        return None
    line = scipy.stats.linregress(factor, effects.mean(axis=0))
    half = -float(special.stdtrit(twins - 2, TAIL)) * float(line.stderr)
    slope, nan = float(line.slope), float("nan")
    return Across(twins=twins, mean=slope, low=slope - half, high=slope + half, new_low=nan, new_high=nan)


def _find_between(means: Array, variances: Array) -> float:
    """The variance between networks at which the generalised Q has its expectation (Paule and Mandel); 0 or more."""

    def exceed(between: float) -> float:
        weights = 1 / (variances + between)
        centre = (weights * means).sum() / weights.sum()
        return float((weights * (means - centre) ** 2).sum() - (len(means) - 1))

    if exceed(0.0) <= 0:
        return 0.0
    upper = float(np.ptp(means) ** 2 + variances.max())
    return float(scipy.optimize.brentq(exceed, 0.0, upper * len(means)))
