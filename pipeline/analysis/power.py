"""How many seeds a verdict needs."""

from __future__ import annotations

import numpy as np
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
    critical = -special.stdtrit(seeds - 1, alpha / 2)
    powers = 1 - special.nctdtr(seeds - 1, size * np.sqrt(seeds), critical)  # one-sided: a noncentral t
    # far out in the tail the distribution is nan, where the power is 1 in every printed digit
    return int(seeds[np.nan_to_num(powers, nan=1.0) >= power][0])
