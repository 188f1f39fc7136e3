"""The claims as the report shows them, each with symbol, numbers and interval."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.analysis.claims.verdict import Verdict
from pipeline.report.figures.illustrations import Illustration, draw_interval
from pipeline.report.text.numbers import SYMBOLS, format_effect, format_p, say_unit
from pipeline.report.text.sentences import say_look, say_twins

DASH = "-"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One claim as the page shows it: texts, with DASH for a number that is not there."""

    verdict: Verdict
    symbol: str
    numbers: tuple[tuple[str, str], ...]
    picture: Illustration | None


def describe_finding(verdict: Verdict) -> Finding:
    """The claim's numbers, named and formatted, and its interval drawn."""
    numbers = [("n", f"{verdict.n_seeds} seeds, {len(verdict.run_ids)} runs")]
    if verdict.by_twin:
        numbers.append(("by twin", say_twins(verdict)))
    if look := say_look(verdict.look):
        numbers.append(("look", look))
    if verdict.is_open and verdict.seeds_needed is not None:
        numbers.append(("seeds needed", f"about {verdict.seeds_needed}"))
    if not verdict.parts:
        numbers[:0] = _list_numbers(verdict)
    symbol, picture = SYMBOLS[verdict.verdict], draw_interval(verdict)
    return Finding(verdict=verdict, symbol=symbol, numbers=tuple(numbers), picture=picture)


def _list_numbers(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """Effect, interval, margin and p of a claim that stands by itself."""
    if not verdict.n_seeds:
        yield from (("effect", DASH), ("interval", DASH))
        return
    yield "effect", f"{format_effect(verdict.effect, verdict)} {say_unit(verdict)}"
    if verdict.n_seeds > 1:
        low, high = (format_effect(bound, verdict) for bound in verdict.interval_95)
        yield "95 % interval", f"{low} to {high}"
        yield "judged at alpha", f"{1 - verdict.level:.3g}"
    margin = format_effect(verdict.claim.smallest_effect, verdict).removeprefix("+")
    name = "margin" if verdict.claim.direction == "not_higher" else "smallest effect of interest"
    yield name, f"{margin} {say_unit(verdict).replace('%', 'points')}"
    if verdict.claim.reference:
        yield "held against", f"{format_effect(verdict.claim.reference, verdict)} {say_unit(verdict)}"
    if verdict.p_adjusted == verdict.p_adjusted:
        yield "adjusted p", format_p(verdict.p_adjusted).removeprefix("= ")
