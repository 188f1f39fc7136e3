"""How many seeds a verdict needs, and with what power it is reached."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from pipeline.study.claims import FEWEST_SEEDS

MOST_SEEDS = 10_000


def bound_sd(sd: float, n: int) -> float:
    """Upper 80 % confidence limit of an SD that was estimated from `n` seeds: an SD is easily underestimated."""
    return sd * float(np.sqrt((n - 1) / special.chdtri(n - 1, 0.8)))


def count_seeds(sd: float, smallest_effect: float, alpha: float = 0.05, power: float = 0.8) -> int | None:
    """Fewest seeds at which a two-sided one-sample t test finds `smallest_effect`, on its own side, with this power.

    `sd` is that of one seed, in the unit of the effect. Never below FEWEST_SEEDS; None above MOST_SEEDS or if unknown.
    """
    if not sd > 0:
        return FEWEST_SEEDS if sd == 0 else None
    size = smallest_effect / sd
    # the normal approximation is a few seeds too low, never too high
    start = ((special.ndtri(1 - alpha / 2) + special.ndtri(power)) / size) ** 2
    if start > MOST_SEEDS:
        return None
    seeds = max(FEWEST_SEEDS, int(start)) + np.arange(50)
    return int(seeds[_find_powers(size, seeds, alpha) >= power][0])


def find_power(sd: float, effect: float, seeds: int, alpha: float = 0.05) -> float:
    """Chance that a two-sided one-sample t test finds `effect` on its own side with so many seeds of this SD."""
    return float(_find_powers(effect / sd, np.array([seeds]), alpha)[0])


def find_power_of_none(sd: float, smallest_effect: float, seeds: int, alpha: float = 0.05) -> float:
    """About the chance that, without any effect, the 1 - alpha interval lies within `smallest_effect` of 0."""
    room = smallest_effect / sd * seeds**0.5 + special.stdtrit(seeds - 1, alpha / 2)
    return max(0.0, float(2 * special.stdtr(seeds - 1, room) - 1))


def _find_powers(size: float, seeds: npt.NDArray[np.int_], alpha: float) -> npt.NDArray[np.float64]:
    """The power at an effect of `size` SDs, for each number of seeds."""
    critical = -special.stdtrit(seeds - 1, alpha / 2)
    powers = 1 - special.nctdtr(seeds - 1, size * np.sqrt(seeds), critical)  # one-sided: a noncentral t
    # far out in the tail the distribution is nan, where the power is 1 in every printed digit
    known: npt.NDArray[np.float64] = np.nan_to_num(powers, nan=1.0)
    return known
