"""An honest sentence or two for each verdict, from templates: numbers with their n and spread, and what they miss."""

from __future__ import annotations

import math

from pipeline.analysis.contrasts import find_null
from pipeline.analysis.verdict import STEPS, Verdict
from pipeline.study.claims import Claim

NOUNS = {"gap": "honest loss gap", "test_loss": "test loss", "test_error": "test error"}
SCALES = {"nats": (1, 4, "nats"), "fraction": (100, 2, "points")}
LIMITS = "Intervals cover seeds, not other test images or data; nothing was tuned per variant."
NO_VERDICT = "Changed after the first run, so no verdict counts; as declared now it would be {outcome}: "


def say_verdict(verdict: Verdict) -> str:
    """What the runs say to the claim, for a reader who sees nothing else."""
    prefix = NO_VERDICT.format(outcome=verdict.outcome) if verdict.verdict == "DEVIATED" else ""
    body = _say_headline(verdict) if verdict.parts else _say_single(verdict)
    left_out = f" Left out: {'; '.join(verdict.left_out)}." if verdict.left_out else ""
    return f"{prefix}{body}{left_out}"


def format_effect(value: float, verdict: Verdict) -> str:
    """An effect or bound as people read it: nats to 4 decimals, fractions as points to 2, a contrast with its sign."""
    sign = "+" if verdict.claim.contrast == "regularised - plain" else ""
    return _format_size(value, verdict, sign)


def _format_size(value: float, verdict: Verdict, sign: str = "") -> str:
    scale, decimals, _ = SCALES[verdict.unit.split()[0]]
    return f"{value * scale:{sign}.{decimals}f}"


def format_p(p: float) -> str:
    """A p-value with its sign, as "= 0.012" or "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _say_single(verdict: Verdict) -> str:
    if not verdict.n_seeds:
        return f"Cannot be tested: {verdict.reason}."
    measured = f"{_say_effect(verdict)} ({'; '.join(_list_evidence(verdict))})"
    if verdict.outcome == "UNTESTABLE":
        return f"Cannot be tested: {verdict.reason}. So far {measured[0].lower()}{measured[1:]}. {LIMITS}"
    return f"{measured}. {_conclude(verdict)}. {LIMITS}"


def _name_estimand(claim: Claim) -> str:
    if claim.epochs:
        return f"share of runs that begin to overfit in epochs {claim.epochs[0]} to {claim.epochs[1]}"
    return NOUNS[claim.estimand]


def say_unit(verdict: Verdict) -> str:
    """The printed unit: points for a fraction, but % for the level of one."""
    word = SCALES[verdict.unit.split()[0]][2]
    level = verdict.claim.contrast != "regularised - plain"
    return ("%" if word == "points" and level else word) + (
        f" per {STEPS[verdict.claim.by]}" if verdict.claim.by else ""
    )


def _say_effect(verdict: Verdict) -> str:
    claim, noun = verdict.claim, _name_estimand(verdict.claim)
    amount = f"{format_effect(verdict.effect, verdict)} {say_unit(verdict)}"
    if claim.contrast != "regularised - plain":
        return f"In the {claim.contrast} networks the {noun} was {amount}"
    return f"Regularised minus plain, the {noun} {'changed' if claim.by else 'differed'} by {amount}"


def _list_evidence(verdict: Verdict) -> list[str]:
    """The parts of the bracket behind an effect."""
    claim, parts = verdict.claim, []
    if verdict.n_seeds > 1:
        low, high = (format_effect(bound, verdict) for bound in verdict.interval)
        parts.append(f"{100 * verdict.level:.4g} % CI {low} to {high}")
    if not math.isnan(verdict.p_adjusted):
        least = " (the least with so few seeds)" if verdict.p_sign_flip <= 2 / 2**verdict.n_seeds else ""
        flips = f"sign-flip p {format_p(verdict.p_sign_flip)}{least}"
        parts.append(f"Holm-adjusted p {format_p(verdict.p_adjusted)}, {flips}")
    parts.append(f"{verdict.twins_agree} of {verdict.twins} twins agree")
    seeds = "1 seed" if verdict.n_seeds == 1 else f"{verdict.n_seeds} seeds"
    parts.append(f"{seeds}, epoch {verdict.epochs}" + (f", {verdict.subset} training images" if verdict.subset else ""))
    if claim.estimand == "gap" and not math.isnan(verdict.reduction[1]):
        change, weakest, strongest = (-100 * part for part in verdict.reduction)
        level = f"{100 * (1 - claim.alpha):g} % CI"
        parts.append(f"relative to plain {change:+.1f} %, {level} {strongest:+.1f} to {weakest:+.1f}")
    share = verdict.onset_share
    if share:
        figures = f"{100 * share.share:.1f} %, {100 * share.low:.1f} to {100 * share.high:.1f}"
        parts.append(f"Kaplan-Meier over {share.n} runs, {share.censored} without onset: {figures}")
    return parts


def _conclude(verdict: Verdict) -> str:
    claim, outcome = verdict.claim, verdict.outcome
    small = f"{_format_size(claim.smallest_effect, verdict)} {say_unit(verdict).replace('%', 'points')}"
    if claim.direction == "not_higher":
        return _conclude_margin(verdict, small)
    null = _format_size(verdict.null, verdict) if verdict.null else "0"
    if outcome == "SUPPORTED":
        return f"The interval is on the claim's side of {null}; {_weigh_relevance(verdict, small)}"
    if outcome == "REFUTED":
        return f"The interval is on the other side of {null}, the opposite of the claim"
    if outcome == "NEGLIGIBLE":
        return f"The interval is within {small} of {null}, too little to matter"
    return f"The interval holds {null} and effects of {small} or more; {_say_needed(verdict)}"


def _weigh_relevance(verdict: Verdict, small: str) -> str:
    sizes = sorted(abs(bound - find_null(verdict.claim)) for bound in verdict.interval)
    if sizes[0] > verdict.claim.smallest_effect:
        return f"all of the interval exceeds the smallest effect of interest, {small}"
    if sizes[1] < verdict.claim.smallest_effect:
        return f"yet all of the interval is below the smallest effect of interest, {small}"
    return f"whether it reaches the smallest effect of interest, {small}, is open"


def _conclude_margin(verdict: Verdict, margin: str) -> str:
    if verdict.outcome == "REFUTED":
        return f"All of the interval is beyond the margin of {margin}"
    if verdict.outcome == "INCONCLUSIVE":
        return f"The interval holds the margin of {margin}; {_say_needed(verdict)}"
    low, high = verdict.interval
    beside = ", and below 0" if high < 0 else ", yet above 0" if low > 0 else ""
    return f"The interval stays below the margin of {margin}{beside}"


def _say_needed(verdict: Verdict) -> str:
    number = "more than 10,000" if verdict.seeds_needed is None else f"about {verdict.seeds_needed}"
    limit = "at the upper 80 % confidence limit of the SD"
    if verdict.claim.direction == "not_higher":
        return f"{number} seeds would rule it out with 80 % power if there is no difference, {limit}"
    return f"{number} seeds would find the smallest effect of interest with 80 % power, {limit}"


def _say_headline(verdict: Verdict) -> str:
    parts = ", ".join(f"{part.name} ({part.outcome})" for part in verdict.parts)
    if verdict.outcome == "UNTESTABLE":
        return f"Cannot be tested, as a part cannot: {verdict.reason}. Parts: {parts}."
    alpha = verdict.claim.alpha
    p = f"p {format_p(verdict.p)}, the largest of the parts'"
    verbs = {
        "SUPPORTED": f"All parts hold at alpha {alpha:g} each, which needs no correction as all must ({p})",
        "REFUTED": f"A part is refuted at alpha {alpha:g}, corrected over the parts, so the whole is",
        "NEGLIGIBLE": f"A part's effect is too small to matter at alpha {alpha:g}, corrected over the parts",
        "INCONCLUSIVE": f"Not all parts hold, and none is refuted at alpha {alpha:g}, corrected over the parts ({p})",
    }
    return f"{verbs[verdict.outcome]}. Parts, by their family's correction: {parts}. {LIMITS}"
