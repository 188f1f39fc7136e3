"""What the interval of a claim's effect says, in words: where it lies, and what more seeds would bring."""

from __future__ import annotations

import math

from pipeline.analysis.claims.contrasts import find_null
from pipeline.analysis.claims.verdict import Verdict
from pipeline.report.text.numbers import format_effect, format_size, say_unit


def conclude_interval(verdict: Verdict) -> str:
    """One clause on a tested claim: the side or the margin on which its interval lies, and whether that matters."""
    claim, outcome = verdict.claim, verdict.outcome
    small = f"{format_size(claim.smallest_effect, verdict)} {say_unit(verdict).replace('%', 'points')}"
    if claim.direction == "not_higher":
        return _conclude_margin(verdict, small)
    null = format_size(verdict.null, verdict) if verdict.null else "0"
    if outcome == "SUPPORTED":
        return f"{_name_interval(verdict)} is on the claim's side of {null}; {_weigh_relevance(verdict, small)}"
    if outcome == "REFUTED":
        return f"{_name_interval(verdict)} is on the other side of {null}, the opposite of the claim"
    if outcome == "NEGLIGIBLE":
        return f"{_name_interval(verdict)} is within {small} of {null}, too little to matter"
    return f"{_name_interval(verdict)} holds {_name_open(verdict, null, small)}; {_say_needed(verdict)}"


def _name_interval(verdict: Verdict) -> str:
    """The interval that decides, with level and bounds where it is not the 95 % interval beside the effect."""
    if math.isclose(verdict.level, 0.95):
        return "The interval"
    low, high = (format_effect(bound, verdict) for bound in verdict.interval)
    return f"The {100 * verdict.level:.4g} % interval that decides, {low} to {high},"


def _name_open(verdict: Verdict, null: str, small: str) -> str:
    """What the interval of an open verdict holds, with the side of the effects."""
    low, high = (bound - verdict.null for bound in verdict.interval)
    size = verdict.claim.smallest_effect
    above, below = ("higher", "lower") if verdict.claim.contrast == "regularised - plain" else ("above", "below")
    sides = [side for side, wide in ((below, low <= -size), (above, high >= size)) if wide]
    if not sides:
        return f"{null}, and not all of it is on one side"
    which = f"{sides[0]} or {sides[1]}" if len(sides) > 1 else sides[0]
    of = f" by {small} or more" if above == "higher" else f" it by {small} or more"
    held = null if low <= 0 <= high else f"effects on either side of {small}"
    return f"{held} and values {which}{of}"


def _weigh_relevance(verdict: Verdict, small: str) -> str:
    sizes = sorted(abs(bound - find_null(verdict.claim)) for bound in verdict.interval)
    if sizes[0] > verdict.claim.smallest_effect:
        return f"all of the interval exceeds the smallest effect of interest, {small}"
    if sizes[1] < verdict.claim.smallest_effect:
        return f"yet all of the interval is below the smallest effect of interest, {small}"
    return f"whether it reaches the smallest effect of interest, {small}, is open"


def _conclude_margin(verdict: Verdict, margin: str) -> str:
    if verdict.outcome == "REFUTED":
        return f"All of t{_name_interval(verdict)[1:]} is beyond the margin of {margin}"
    if verdict.outcome == "INCONCLUSIVE":
        return f"{_name_interval(verdict)} holds the margin of {margin}; {_say_needed(verdict)}"
    low, high = verdict.interval
    beside = ", and below 0" if high < 0 else ", yet above 0" if low > 0 else ""
    return f"{_name_interval(verdict)} stays below the margin of {margin}{beside}"


def _say_needed(verdict: Verdict) -> str:
    number = "more than 10,000" if verdict.seeds_needed is None else f"about {verdict.seeds_needed:,}"
    size = f"{format_size(verdict.claim.smallest_effect, verdict)} {say_unit(verdict).replace('%', 'points')}"
    aim = f"rule out {size}" if verdict.claim.direction == "not_higher" else f"see {size}"
    return f"a new study would need {number} seeds to {aim} (80 % power)"
