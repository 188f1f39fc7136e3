"""How verdicts and their numbers are written: symbols and counts, effects, bounds, units and p-values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pipeline.analysis.claims.verdict import STEPS, Verdict

SCALES = {"nats": (1, 4, "nats"), "fraction": (100, 2, "points")}
SMALL_P = 0.001
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


def order_verdicts(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The headlines, which stand on other claims, first; else as declared."""
    return sorted(verdicts, key=lambda verdict: not verdict.parts)


def format_effect(value: float, verdict: Verdict) -> str:
    """An effect or bound as people read it: nats to 4 decimals, fractions as points to 2, a contrast with its sign."""
    sign = "+" if verdict.claim.contrast == "regularised - plain" else ""
    return format_size(value, verdict, sign)


def format_p(p: float) -> str:
    """A p-value with its sign, as "= 0.012" or "< 0.001"."""
    return f"< {SMALL_P}" if p < SMALL_P else f"= {p:.3f}"


def say_unit(verdict: Verdict) -> str:
    """The printed unit: points for a fraction, but % for the level of one."""
    word = SCALES[verdict.unit.split()[0]][2]
    level = verdict.claim.contrast != "regularised - plain"
    return ("%" if word == "points" and level else word) + (
        f" per {STEPS[verdict.claim.by]}" if verdict.claim.by else ""
    )


def format_size(value: float, verdict: Verdict, sign: str = "") -> str:
    """A size in the printed unit, without it."""
    scale, decimals, _ = SCALES[verdict.unit.split()[0]]
    return f"{value * scale:{sign}.{decimals}f}"


def join_words(words: Sequence[str]) -> str:
    """A list as people say it: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
