"""How the twins of a claim agree, in words."""

from __future__ import annotations

from itertools import pairwise

from pipeline.analysis.claims.verdict import Verdict
from pipeline.report.text.numbers import (
    format_effect,
    format_size,
    is_level,
    join_words,
    name_scale,
    say_bounds,
    say_unit,
)

MOST_NAMED = 2  # twins that disagree


def say_twins(verdict: Verdict) -> str:
    """How the twins agree, as "lower in 3 of 3 twins, from -0.0310 to -0.0290"; empty without twins.

    Where one or two do not, they are named. Of a claim by depth or kernel: the mean effect at each.
    """
    if not verdict.by_twin:
        return ""
    claim = verdict.claim
    if claim.by:
        return _say_steps(verdict, claim.by)
    effects = [twin.effect for twin in verdict.by_twin]
    ends = say_bounds((min(effects), max(effects)), verdict)
    level, side = is_level(claim), claim.direction
    if level or claim.direction == "not_higher":
        side = "above" if claim.direction == "higher" else "below"
        side += f" {format_size(verdict.null, verdict)} {say_unit(verdict)}"
    others = [twin.twin for twin in verdict.by_twin if not twin.agrees]
    named = f" (not {join_words(others)})" if 0 < len(others) <= MOST_NAMED < verdict.twins else ""
    return f"{side} in {verdict.twins_agree} of {verdict.twins} {'networks' if level else 'twins'}{named}, from {ends}"


def _say_steps(verdict: Verdict, factor: str) -> str:
    """The mean effect of the twins of each depth or kernel, and whether it changes in one direction all the way."""
    steps: dict[int, list[float]] = {}
    for twin in sorted(verdict.by_twin, key=lambda twin: getattr(twin, factor)):
        steps.setdefault(getattr(twin, factor), []).append(twin.effect)
    means = {step: sum(effects) / len(effects) for step, effects in steps.items()}
    said = join_words([f"{format_effect(mean, verdict)} with {step}" for step, mean in means.items()])
    changes = [after - before for before, after in pairwise(means.values())]
    steady = all(change > 0 for change in changes) or all(change < 0 for change in changes)
    return f"effect by {factor} ({name_scale(verdict)}): {said}" + ("" if steady else ", not a steady trend")
