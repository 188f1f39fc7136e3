"""What one seed alone would have concluded: the notebook's own lesson, told from the seeds that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.analysis.claims.verdict import Verdict
from pipeline.study import metrics

FEWEST = 2


@dataclass(frozen=True, kw_only=True)
class SingleSeeds:
    """Of `seeds` seeds of a claim, `astray` alone lie on the other side of its null than their mean."""

    claim: str
    seeds: int
    astray: int


def count_astray(verdicts: Sequence[Verdict]) -> list[SingleSeeds]:
    """For each claim that stands by itself and has two seeds or more, how many of them alone point the other way."""
    found = []
    for verdict in verdicts:
        sides = [value - verdict.null for _, value in verdict.per_seed]
        if len(sides) >= FEWEST:
            astray = sum(side * (verdict.effect - verdict.null) <= 0 for side in sides)
            found.append(SingleSeeds(claim=verdict.name, seeds=len(sides), astray=astray))
    return found


def count_best(runs: pd.DataFrame) -> tuple[Mapping[str, int], int]:
    """(variant -> with how many seeds it has the lowest test error, number of seeds), of the seeds that all have.

    Variants that tie count all; empty below two seeds or variants.
    """
    errors = (1 - runs.pivot(index="seed", columns="variant", values=metrics.TEST_ACCURACY.final)).dropna()
    if len(errors) < FEWEST or errors.shape[1] < FEWEST:
        return {}, 0
    wins = errors.le(errors.min(axis=1), axis=0).sum()
    ranked = wins[wins > 0].sort_values(ascending=False, kind="stable")
    return {str(name): int(count) for name, count in ranked.items()}, len(errors)
