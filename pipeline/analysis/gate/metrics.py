"""What the gate judges by: metrics of stored and new runs, and bounds from the spread of the stored seeds.

The spread is that around the mean of a variant, pooled over variants.
A loss is judged by its logarithm, an error by its logit, a count of images by its square root: on these scales the
spread is about the same for all variants, and a bound never passes 0. One new run is held against bounds as wide as a
t distribution of HEAVY degrees of freedom asks, as single trainings have heavier tails than a normal; the mean of all
new runs against ordinary ones, as means have not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from pipeline.analysis.claims.contrasts import count_images
from pipeline.analysis.table.conclusion import Conclusion
from pipeline.errors import AnalysisError
from pipeline.study import metrics
from pipeline.study.predicted import Predicted

GATED = (metrics.TEST_LOSS.final, metrics.TEST_ACCURACY.final)
IMAGES = "images that all stored seeds got right"
FEWEST_SEEDS_OF_IMAGES = 3
HEAVY = 3
WIDEST = math.log(3)
"""Bounds wider than a factor of 3 to either side judge nothing."""
POWER = 0.8
Result = Literal["pass", "fail", "not judged"]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How a metric is judged: on which scale, back again, and how a shift on it is said."""

    forward: Callable[[npt.ArrayLike], npt.NDArray[np.float64]]
    backward: Callable[[float], float]
    widest: float = WIDEST
    shift: str = "a factor of {factor:.2f}"


def scale_error(images: int) -> Scale:
    """The scale of an accuracy on so many images: the logit of the error, with half an image added to either side."""

    def forward(accuracy: npt.ArrayLike) -> npt.NDArray[np.float64]:
        wrong = images * (1 - np.asarray(accuracy, dtype=float))
        odds: npt.NDArray[np.float64] = np.log((wrong + 0.5) / (images - wrong + 0.5))
        return odds

    def backward(logit: float) -> float:
        wrong = float(special.expit(logit)) * (images + 1) - 0.5
        return min(1.0, max(0.0, 1 - wrong / images))

    return Scale(forward=forward, backward=backward, shift="a factor of {factor:.2f} in the odds of an error")


LOSS = Scale(
    forward=lambda losses: np.asarray(np.log(np.asarray(losses, dtype=float))),
    backward=math.exp,
)
COUNT = Scale(
    forward=lambda counts: np.asarray(np.sqrt(np.asarray(counts, dtype=float) + 3 / 8)),
    backward=lambda root: max(0.0, max(0.0, root) ** 2 - 3 / 8),
    widest=math.inf,
    shift="{size:.2f} in the root of the count",
)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The SD of a seed on a metric's scale, pooled over variants, and its degrees of freedom; 0 if unknown."""

    sd: float
    df: int


def pool_spread(groups: Sequence[npt.NDArray[np.float64]]) -> Spread:
    """The spread of values around the mean of their group; groups of one value add nothing."""
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups if len(group) > 1)
    df = sum(len(group) - 1 for group in groups if len(group) > 1)
    return Spread(sd=math.sqrt(squares / df) if df else 0.0, df=df)


def bound_run(spread: Spread, stored: int, alpha: float) -> tuple[float, float]:
    """For one new run less the mean of `stored` seeds of its variant, on a metric's scale: (half, smallest).

    What is at most `half` from 0 passes; `smallest` is the shift that fails with a chance of POWER.
    """
    error = spread.sd * math.sqrt(1 + 1 / stored)
    heavy = math.sqrt((HEAVY - 2) / HEAVY) * float(special.stdtrit(HEAVY, 1 - alpha / 2))
    return _bound(error, max(heavy, float(special.stdtrit(spread.df, 1 - alpha / 2))))


def bound_mean(spread: Spread, stored: Mapping[str, int], new: Mapping[str, int], alpha: float) -> tuple[float, float]:
    """The same for the mean over `new` runs (variant -> how many), each less the mean of its `stored` seeds."""
    total = sum(new.values())
    variance = 1 / total + sum((count / total) ** 2 / stored[variant] for variant, count in new.items())
    return _bound(spread.sd * math.sqrt(variance), float(special.stdtrit(spread.df, 1 - alpha / 2)))


def _bound(error: float, quantile: float) -> tuple[float, float]:
    half = quantile * error
    return half, half + float(special.ndtri(POWER)) * error


@dataclass(frozen=True, kw_only=True, eq=False)
class Yardstick:
    """One metric of the stored runs by variant and seed, with its scale and its pooled spread.

    `fresh` has the metric of the new runs by run id, where it is not a column of theirs.
    """

    metric: str
    scale: Scale
    stored: Mapping[str, Mapping[int, float]]
    fresh: Mapping[str, float] = field(default_factory=dict)

    @property
    def spread(self) -> Spread:
        """The SD of a seed, pooled over variants."""
        return pool_spread([self.scale.forward(list(own.values())) for own in self.stored.values()])

    def find_peers(self, run: Mapping[Any, Any]) -> list[float]:
        """The stored values of other seeds, independent of this run; all stored ones where there is no other seed."""
        own = self.stored.get(run["variant"], {})
        return [value for seed, value in own.items() if seed != run["seed"]] or list(own.values())

    def read(self, run: Mapping[Any, Any]) -> float:
        """The new run's value; nan where it is not known."""
        return float(self.fresh.get(run["run_id"], math.nan) if self.metric == IMAGES else run[self.metric])


def list_yardsticks(
    stored: Conclusion, fresh: Sequence[Mapping[Any, Any]], predicted: Mapping[str, Predicted]
) -> list[Yardstick]:
    """The metrics to judge by: loss and error, and the images where they were read."""
    scales = dict(zip(GATED, (LOSS, scale_error(count_images(stored.settings.subset))), strict=True))
    sticks = []
    for metric, scale in scales.items():
        values = {
            str(variant): {int(seed): float(value) for seed, value in zip(own["seed"], own[metric], strict=True)}
            for variant, own in stored.runs.groupby("variant")
        }
        sticks.append(Yardstick(metric=metric, scale=scale, stored=values))
    images = _count_images(stored, fresh, predicted)
    return [*sticks, images] if images else sticks


def _count_images(
    stored: Conclusion, fresh: Sequence[Mapping[Any, Any]], predicted: Mapping[str, Predicted]
) -> Yardstick | None:
    """Of the images that the other stored seeds all got right, how many each run got wrong; None if not all is read."""
    right = {run_id: each.predicted == each.label for run_id, each in predicted.items()}
    known, counts = {}, {}
    for variant, own in stored.runs.groupby("variant"):
        read = [right.get(run_id) for run_id in own["run_id"]]
        grids = [each for each in read if each is not None]
        if len(grids) < len(read) or len(grids) < FEWEST_SEEDS_OF_IMAGES or len({len(grid) for grid in grids}) > 1:
            return None
        grid = np.array(grids)
        others = grid.sum(axis=0) - grid == len(grid) - 1
        known[str(variant)] = dict(zip(map(int, own["seed"]), (others & ~grid).sum(axis=1).tolist(), strict=True))
        for run in fresh:
            answer = right.get(run["run_id"])
            if run["variant"] == variant and answer is not None and len(answer) == grid.shape[1]:
                counts[str(run["run_id"])] = float((grid.all(axis=0) & ~answer).sum())
    return Yardstick(metric=IMAGES, scale=COUNT, stored=known, fresh=counts) if counts else None


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One judgement: a variant and seed, the metric looked at, what was expected and what came.

    `expected` is a hash, the bounds (low, high), or None where nothing can be expected; `detail` says how it was judged
    or why it was not. `seed` and `run_id` are None where no new run was found.
    """

    variant: str
    seed: int | None = None
    run_id: str | None = None
    metric: str
    expected: str | tuple[float, float] | None = None
    value: str | float | None = None
    result: Result = "not judged"
    detail: str


@dataclass(frozen=True, kw_only=True)
class Demands:
    """How strict a gate is.

    `confidence` holds for all bounds together (Bonferroni). Where no spread is stored, or the bounds are too wide,
    `tolerances` (metric -> half-width in its unit) takes their place. With `allow_missing`, what has no finished new
    run is not judged.
    """

    confidence: float = 0.95
    tolerances: Mapping[str, float] = field(default_factory=dict)
    allow_missing: bool = False

    def __post_init__(self) -> None:
        for metric in self.tolerances:
            if metric not in GATED:
                raise AnalysisError(f'a tolerance for "{metric}" gates nothing; choose one of {", ".join(GATED)}')


USUAL = Demands()


def describe(run: Mapping[Any, Any], metric: str, detail: str) -> Judgement:
    """A judgement of this run that is not made (yet)."""
    return Judgement(variant=run["variant"], seed=run["seed"], run_id=run["run_id"], metric=metric, detail=detail)
