"""What the gate judges by: metrics of the stored runs by variant and seed, and those of the new ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.analysis.claims.contrasts import count_images
from pipeline.analysis.gate.bounds import COUNT, LOSS, Scale, Spread, pool_spread, scale_error
from pipeline.analysis.table.conclusion import Conclusion
from pipeline.study import metrics
from pipeline.study.predicted import Predicted

GATED = (metrics.TEST_LOSS.final, metrics.TEST_ACCURACY.final)
IMAGES = "images that all stored seeds got right"
FEWEST_SEEDS_OF_IMAGES = 3


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
