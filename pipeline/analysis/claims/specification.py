"""How far a verdict rests on choices: each claim judged again over a fixed grid of them.

The grid is the same for every claim of a kind, so nobody chooses it after the results: where a gap, loss or error is
read (the last epoch, the mean of the last three) or how large a rise counts as overfitting (half, once and twice the
declared one), each with all twins and seeds, without each twin, and without each seed (of more than 20 seeds without
each twentieth of them). A claim is judged at the level of its verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.analysis.claims.design import Design, Records
from pipeline.analysis.claims.verdict import Verdict, decide
from pipeline.analysis.claims.weighing import Weighed, weigh_blocks, weigh_claim
from pipeline.study.claims import FEWEST_SEEDS, Claim

RISES = (0.5, 1.0, 2.0)
PLACES = ("last epoch", "mean of last 3 epochs")
MOST_PARTS = 20  # of the seeds, each left out in turn


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One point of the grid: what was chosen, in words, and what the claim comes to."""

    label: str
    effect: float
    low: float
    high: float
    outcome: str


@dataclass(frozen=True, kw_only=True)
class Specification:
    """A claim over the grid: its verdict's outcome and every choice that could be judged."""

    verdict: Verdict
    choices: tuple[Choice, ...]

    @property
    def holds(self) -> int:
        """With how many choices the outcome is the same."""
        return sum(choice.outcome == self.verdict.outcome for choice in self.choices)


def vary_choices(verdicts: Sequence[Verdict], records: Records, design: Design) -> list[Specification]:
    """The grid of each claim that stands by itself and has been tested."""
    return [
        Specification(verdict=verdict, choices=tuple(_vary(verdict, records, design)))
        for verdict in verdicts
        if not verdict.parts and verdict.outcome != "UNTESTABLE"
    ]


def _vary(verdict: Verdict, records: Records, design: Design) -> Iterator[Choice]:
    for label, claim in _list_readings(verdict.claim):
        weighed = weigh_claim(claim, records, design)
        blocks = weighed.blocks
        if weighed.draft.reason:
            continue
        yield from _judge(label, weighed, verdict)
        for plain, _ in blocks.twins:
            others = {row.name for row, _ in blocks.twins} - {plain.name}
            rest = weigh_blocks(weighed, blocks.restrict(blocks.seeds, others), records)
            yield from _judge(f"{label}, without {plain.name} and its twin", rest, verdict)
        for without in _part_seeds(blocks.seeds):
            seeds = set(blocks.seeds) - set(without)
            if len(seeds) >= FEWEST_SEEDS:
                rest = weigh_blocks(weighed, blocks.restrict(seeds), records)
                name = f"seed {without[0]}" if len(without) == 1 else f"seeds {without[0]} to {without[-1]}"
                yield from _judge(f"{label}, without {name}", rest, verdict)


def _part_seeds(seeds: Sequence[int]) -> list[list[int]]:
    """Each seed, or so many in a row that there are MOST_PARTS."""
    return [part.tolist() for part in np.array_split(np.sort(seeds), min(len(seeds), MOST_PARTS)) if part.size]


def _list_readings(claim: Claim) -> Iterator[tuple[str, Claim]]:
    if claim.estimand == "onset":
        for factor in RISES:
            rise = factor * claim.smallest_rise
            yield f"a rise of {rise:g} nats", replace(claim, smallest_rise=rise)
    else:
        for place in PLACES:
            yield place, replace(claim, at=place)


def _judge(label: str, weighed: Weighed, verdict: Verdict) -> Iterator[Choice]:
    """The choice, unless it leaves nothing that can be tested."""
    if weighed.draft.reason:
        return
    low, high = weighed.bound(1 - verdict.level)
    outcome = decide(weighed.draft.claim, (low, high))
    yield Choice(label=label, effect=weighed.draft.effect, low=low, high=high, outcome=outcome)
