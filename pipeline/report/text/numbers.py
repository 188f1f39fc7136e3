"""How verdicts are written: symbols and counts, effects, units and p-values, and in words what an interval says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from pipeline.analysis.claims.contrasts import find_null
from pipeline.analysis.claims.verdict import STEPS, Verdict
from pipeline.analysis.statistics import MOST_SEEDS
from pipeline.study.claims import Claim

SCALES = {"nats": (1, 4, "nats"), "fraction": (100, 2, "points")}
SYMBOLS = {
    "SUPPORTED": "✔",
    "REFUTED": "✘",
    "NEGLIGIBLE": "≈",
    "INCONCLUSIVE": "?",
    "UNTESTABLE": "∅",
    "DEVIATED": "≠",
}


def count_verdicts(verdicts: Sequence[Verdict]) -> list[tuple[str, str, int]]:
    """(verdict, symbol, how many claims have it), for those that occur."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    return [(word, symbol, counts[word]) for word, symbol in SYMBOLS.items() if counts[word]]


def is_level(claim: Claim) -> bool:
    """Whether a claim is on the level of one arm, not on the contrast of two."""
    return claim.contrast != "regularised - plain"


def is_measured(verdict: Verdict) -> bool:
    """Whether a claim has numbers of its own: a headline has only parts, and some claims have no seed."""
    return bool(verdict.n_seeds) and not verdict.parts


def say_effect(verdict: Verdict) -> str:
    """The claim's effect with its unit."""
    return f"{format_effect(verdict.effect, verdict)} {say_unit(verdict)}"


def say_margin(verdict: Verdict) -> str:
    """The claim's smallest effect of interest with its unit, which is points for a level too."""
    return f"{format_size(verdict.claim.smallest_effect, verdict)} {say_unit(verdict).replace('%', 'points')}"


def say_bounds(bounds: Iterable[float], verdict: Verdict) -> str:
    """An interval of effects, as "-0.0310 to -0.0290"; "-" where one seed gives none."""
    bounds = list(bounds)
    if any(map(math.isnan, bounds)):
        return "-"
    return " to ".join(format_effect(bound, verdict) for bound in bounds)


def format_effect(value: float, verdict: Verdict) -> str:
    """An effect or bound as people read it: nats to 4 decimals, fractions as points to 2, a contrast with its sign."""
    return format_size(value, verdict, "" if is_level(verdict.claim) else "+")


def format_p(p: float) -> str:
    """A p-value with its sign, as "= 0.012" or "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def say_unit(verdict: Verdict) -> str:
    """The printed unit: points for a fraction, but % for the level of one."""
    word = name_scale(verdict)
    unit = "%" if word == "points" and is_level(verdict.claim) else word
    return f"{unit} per {STEPS[verdict.claim.by]}" if verdict.claim.by else unit


def name_scale(verdict: Verdict) -> str:
    """Nats or points, whatever they are per."""
    return SCALES[verdict.unit.split()[0]][2]


def format_size(value: float, verdict: Verdict, sign: str = "") -> str:
    """A size in the printed unit, without it."""
    scale, decimals, _ = SCALES[verdict.unit.split()[0]]
    return f"{value * scale:{sign}.{decimals}f}"


def join_words(words: Sequence[str]) -> str:
    """A list as people say it: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def conclude_interval(verdict: Verdict) -> str:
    """One clause on a tested claim: the side or the margin on which its interval lies, and whether that matters."""
    claim, outcome = verdict.claim, verdict.outcome
    small = say_margin(verdict)
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
    return f"The {100 * verdict.level:.4g} % interval that decides, {say_bounds(verdict.interval, verdict)},"


def _name_open(verdict: Verdict, null: str, small: str) -> str:
    """What the interval of an open verdict holds, with the side of the effects."""
    low, high = (bound - verdict.null for bound in verdict.interval)
    size = verdict.claim.smallest_effect
    below, above, it = ("below", "above", " it") if is_level(verdict.claim) else ("lower", "higher", "")
    sides = [side for side, wide in ((below, low <= -size), (above, high >= size)) if wide]
    if not sides:
        return f"{null}, and not all of it is on one side"
    held = null if low <= 0 <= high else f"effects on either side of {small}"
    return f"{held} and values {' or '.join(sides)}{it} by {small} or more"


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
    aim = "rule out" if verdict.claim.direction == "not_higher" else "see"
    power = f"to {aim} {say_margin(verdict)} (80 % power)"
    if verdict.seeds_needed is None and verdict.claim.over == "seeds and images":
        return f"with these {verdict.images:,} test images no number of seeds up to {MOST_SEEDS:,} is enough {power}"
    number = f"more than {MOST_SEEDS:,}" if verdict.seeds_needed is None else f"about {verdict.seeds_needed:,}"
    return f"a new study would need {number} seeds {power}"
