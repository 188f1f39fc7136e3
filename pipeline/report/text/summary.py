"""A comparison in short: the numbers of a claim, a row a claim, a row a variant, and what makes a verdict doubtful."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from pipeline.analysis.claims.verdict import Verdict
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.statistics import t_interval
from pipeline.plain import count
from pipeline.report.text.numbers import (
    conclude_interval,
    format_effect,
    format_p,
    is_measured,
    say_bounds,
    say_effect,
    say_margin,
    say_unit,
)
from pipeline.report.text.sentences import say_look
from pipeline.report.text.twins import say_twins
from pipeline.study import metrics

VERDICTS = ("claim", "verdict", "effect", "95 % interval", "by twin")
VARIANTS = ("variant", "test accuracy", "test loss", "gap", "n")
NOTHING = "-"


def list_verdicts(verdicts: Sequence[Verdict]) -> list[tuple[str, ...]]:
    """A row for each claim, under VERDICTS; "-" for what an untested claim or a headline lacks."""
    rows: list[tuple[str, ...]] = []
    for verdict in verdicts:
        numbers = (NOTHING, NOTHING, NOTHING)
        if is_measured(verdict):
            numbers = (say_effect(verdict), say_bounds(verdict.interval_95, verdict), _count_twins(verdict))
        rows.append((verdict.name, verdict.word, *numbers))
    return rows


def list_numbers(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """(name, number) of what a report shows beside a claim; a headline has no effect of its own."""
    if is_measured(verdict):
        yield from _list_measured(verdict)
    elif not verdict.parts:
        yield from (("effect", NOTHING), ("interval", NOTHING))
    yield "n", f"{count(verdict.n_seeds, 'seed')}, {count(len(verdict.run_ids), 'run')}"
    if twins := say_twins(verdict):
        yield "by twin", twins
    if look := say_look(verdict.look):
        yield "look", look
    if verdict.is_open and verdict.seeds_needed is not None:
        yield "seeds needed", f"about {verdict.seeds_needed}"


def _list_measured(verdict: Verdict) -> Iterator[tuple[str, str]]:
    yield "effect", say_effect(verdict)
    if verdict.n_seeds > 1:
        yield "95 % interval", say_bounds(verdict.interval_95, verdict)
    if verdict.outcome != "UNTESTABLE":
        yield "judged at alpha", f"{1 - verdict.level:.3g}"
    one_sided = verdict.claim.direction == "not_higher"
    yield "margin" if one_sided else "smallest effect of interest", say_margin(verdict)
    if verdict.claim.reference:
        yield "held against", f"{format_effect(verdict.claim.reference, verdict)} {say_unit(verdict)}"
    if verdict.p_adjusted == verdict.p_adjusted:
        yield "adjusted p", format_p(verdict.p_adjusted).removeprefix("= ")


def _count_twins(verdict: Verdict) -> str:
    """How many twins, or networks of a level, agree with the direction of the claim."""
    if not verdict.by_twin or verdict.claim.by:
        return NOTHING
    way = f"below {say_margin(verdict)}" if verdict.claim.direction == "not_higher" else verdict.claim.direction
    return f"{verdict.twins_agree} of {verdict.twins} {way}"


def list_variants(comparison: Comparison) -> list[tuple[str, ...]]:
    """A row for each declared variant, or each with a run where none is declared, under VARIANTS.

    Means over the seeds with the half-width of their 95 % t-interval; accuracy in %, losses and gap in nats, both in
    evaluation mode and without the L2 penalty.
    """
    runs = comparison.conclusion.runs
    names = comparison.question.variants or tuple(dict.fromkeys(runs["variant"]))
    rows: list[tuple[str, ...]] = []
    for name in names:
        own = runs[runs["variant"] == name]
        if own.empty:
            rows.append((name, "(no run)", NOTHING, NOTHING, "0"))
            continue
        accuracy = _format_mean(100 * own[metrics.TEST_ACCURACY.final], 2, " %")
        loss = _format_mean(own[metrics.HONEST_TEST_LOSS.final], 4)
        gap = _format_mean(own[metrics.GAP_HONEST.final], 4, sign="+")
        rows.append((name, accuracy, loss, gap, str(len(own))))
    return rows


def _format_mean(values: pd.Series, decimals: int, unit: str = "", sign: str = "") -> str:
    """A mean with the half-width of its interval, where there are two values or more."""
    mean, low, high = t_interval(values)
    width = f" ± {(high - low) / 2:.{decimals}f}" if len(values) > 1 else ""
    return f"{mean:{sign}.{decimals}f}{width}{unit}"


def list_notes(comparison: Comparison) -> list[str]:
    """What must not be overlooked: a claim that cannot be tested, runs that make a verdict doubtful or are left out."""
    notes = [
        f"{verdict.name} cannot be tested: {verdict.reason}."
        for verdict in comparison.verdicts
        if verdict.reason and not verdict.parts
    ]
    notes += [
        f"{verdict.name} is open: {conclude_interval(verdict)}."
        for verdict in comparison.verdicts
        if verdict.outcome == "INCONCLUSIVE" and is_measured(verdict)
    ]
    troubles: dict[str, list[str]] = {}
    for verdict in comparison.verdicts:
        for trouble in verdict.troubles:
            troubles.setdefault(trouble, []).append(verdict.name)
    notes += [f"Beware: {trouble}. This affects {', '.join(names)}." for trouble, names in troubles.items()]
    left_out = comparison.conclusion.left_out
    if len(left_out):
        reasons = ", ".join(f"{reason} ({number})" for reason, number in left_out["reason"].value_counts().items())
        notes.append(f"Runs left out: {reasons}.")
    return notes


def say_units(comparison: Comparison) -> str:
    """What the numbers of list_variants are of."""
    settings = comparison.conclusion.settings
    images = f"{settings.subset:,}" if settings.subset else "all"
    parts = [f"Epoch {settings.epochs}, {images} training images"]
    if comparison.conclusion.runs["seed"].nunique() > 1:
        parts.append("mean ± half of the 95 % interval over n seeds")
    return "; ".join([*parts, "loss and gap (test minus train loss) in nats, without the L2 penalty"])
