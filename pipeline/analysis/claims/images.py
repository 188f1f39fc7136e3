"""Seeds crossed with test images: how far a contrast would move with other seeds, and with other images as well.

Every seed answers every image, so the values form a table of seeds x images. With the two-way layout without
replication, the variance of the grand mean is V = Vseeds + Vimages - Vinteraction, where each is the mean square over
the number of values; its degrees of freedom are Satterthwaite's. Source: Searle, Casella and McCulloch, Variance
Components (1992), section 4.7; the same logic as multi-reader, multi-case studies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy

from pipeline.analysis.statistics import Array, Estimate
from pipeline.errors import AnalysisError
from pipeline.study.predicted import Predicted


def widen_by_images(estimate: Estimate, values: Array) -> Estimate:
    """The estimate over seeds, with an error that covers other images too; `values` has shape (seeds, images).

    It is never narrower than over seeds alone. Needs two seeds and two images.
    """
    seeds, images = values.shape
    by_seed, by_image = values.mean(axis=1), values.mean(axis=0)
    rest = values - by_seed[:, None] - by_image + values.mean()
    parts = np.array([by_seed.var(ddof=1) / seeds, by_image.var(ddof=1) / images, 0.0])
    freedoms = np.array([seeds - 1, images - 1, (seeds - 1) * (images - 1)])
    parts[2] = (rest**2).sum() / freedoms[2] / (seeds * images)
    variance = float(parts[0] + parts[1] - parts[2])
    if variance <= 0:
        return estimate
    df = float(variance**2 / (parts**2 / freedoms).sum())
    return replace(estimate, error=variance**0.5, df=df, seeds_alone=estimate)


@dataclass(frozen=True, kw_only=True, eq=False)
class Discordance:
    """Two runs on the same test images: `first_only` and `second_only` index those that one alone got right."""

    images: int
    both_wrong: int
    first_only: npt.NDArray[np.intp]
    second_only: npt.NDArray[np.intp]
    p: float


def compare_images(first: Predicted, second: Predicted) -> Discordance:
    """McNemar's exact test of two runs after their last epoch; raises AnalysisError for other test images."""
    if not np.array_equal(first.label, second.label):
        raise AnalysisError("the two runs were tested on other images; compare runs of the same data and subset")
    right, other = first.predicted == first.label, second.predicted == second.label
    mine, theirs = np.flatnonzero(right & ~other), np.flatnonzero(other & ~right)
    differing = len(mine) + len(theirs)
    return Discordance(
        images=len(right),
        both_wrong=int((~right & ~other).sum()),
        first_only=mine,
        second_only=theirs,
        p=float(scipy.stats.binomtest(len(mine), differing).pvalue) if differing else 1.0,
    )
