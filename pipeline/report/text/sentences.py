"""An honest sentence or two for each verdict, from templates: numbers with their n and spread, and what they miss."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.analysis.claims.design import Look
from pipeline.analysis.claims.networks import ENOUGH_TWINS
from pipeline.analysis.claims.verdict import Verdict
from pipeline.plain import count
from pipeline.report.text.numbers import (
    conclude_interval,
    format_p,
    format_size,
    is_level,
    is_measured,
    join_words,
    name_scale,
    say_bounds,
    say_effect,
    say_unit,
)
from pipeline.report.text.twins import say_twins
from pipeline.study.claims import Claim

NOUNS = {"gap": "honest loss gap", "test_loss": "test loss", "test_error": "test error"}
SUBJECT = "Regularisation "
LIMITS = (
    "Intervals are t-intervals over seeds of these networks and assume values near symmetry; they do not cover other "
    "networks or data, nor other test images where that is not said. The pipeline tunes nothing per variant."
)
PROBE = (
    "The gap by epoch, and so its mean over epochs, is measured on a fixed subset of the training images (10,000, or "
    "all if there are fewer), and the last epoch's own on all of them"
)
NO_VERDICT = "Changed after the first run, so no verdict counts; as declared now it would be {outcome}: "
STANDINGS = {
    "": "",
    "late": "LATE: frozen after the first run had started, so the claim may have been written after seeing results. ",
    "never": "NEVER FROZEN: nothing shows that the claim was written before the runs. ",
}


def say_verdict(verdict: Verdict) -> str:
    """What the runs say to the claim, for a reader who sees nothing else."""
    prefix = STANDINGS[verdict.standing]
    prefix += NO_VERDICT.format(outcome=verdict.outcome) if verdict.verdict == "DEVIATED" else ""
    body = _say_headline(verdict) if verdict.parts else _say_single(verdict)
    left_out = f" Left out: {'; '.join(verdict.left_out)}." if verdict.left_out else ""
    return f"{prefix}{body}{_say_troubles(verdict)}{left_out}"


def say_finding(verdicts: Sequence[Verdict]) -> str:
    """What was found: the effects of the headline's parts, or of all claims without one, and what to beware of."""
    headline = next((verdict for verdict in verdicts if verdict.parts), None)
    measured = [v for v in (headline.parts if headline else verdicts) if is_measured(v)]
    if not measured:
        return "No claim could be tested."
    said = [_say_clear_effect(verdict) for verdict in measured]
    of_regularisation = [text.removeprefix(SUBJECT) for text in said if text.startswith(SUBJECT)]
    body = SUBJECT + join_words(of_regularisation) if of_regularisation else said[0]
    if all(verdict.outcome == "UNTESTABLE" for verdict in measured):
        body = f"No claim could be tested. So far {body[0].lower()}{body[1:]}"
    seeds = sorted({verdict.n_seeds for verdict in measured})
    number = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else count(seeds[0], "seed")
    troubles = dict.fromkeys(trouble for verdict in measured for trouble in verdict.troubles)
    warnings = "".join(f" Beware: {trouble}." for trouble in troubles)
    return f"{body} (means over {number}).{warnings}{_say_progress(measured)}"


def _say_progress(verdicts: Sequence[Verdict]) -> str:
    """That declared looks are still to come; empty where none is."""
    look = next((verdict.look for verdict in verdicts if 0 < verdict.look.number < verdict.look.total), None)
    if look is None:
        return ""
    said = f" Look {look.number} of {look.total}, after {len(look.seeds)} of {look.last} seeds: the study goes on"
    return f"{said}, and the next look judges every claim again, so that a verdict can change."


def _say_clear_effect(verdict: Verdict) -> str:
    """The effect with its 95 % interval and, where twins differ in sign, theirs; that its side is open where it is."""
    low, high = verdict.interval
    if verdict.claim.by or is_level(verdict.claim):
        return _describe_effect(verdict)
    bounds = [f"95 % CI {say_bounds(verdict.interval_95, verdict)}"] if verdict.n_seeds > 1 else []
    twins = [twin.effect for twin in verdict.by_twin]
    spread = (
        [f"by twin {say_bounds((min(twins), max(twins)), verdict)}"] if twins and min(twins) < 0 < max(twins) else []
    )
    if low <= 0 <= high:
        plain_low, plain_high = verdict.interval_95
        before = "" if plain_low <= 0 <= plain_high else " before corrections"
        bounds = [", ".join([say_effect(verdict), *bounds]) + before]
        said = f"{SUBJECT}may lower or raise the {_name_estimand(verdict.claim)}"
    else:
        said = _describe_side(verdict)
    return said + (f" ({'; '.join([*bounds, *spread])})" if bounds or spread else "")


def say_look(look: Look) -> str:
    """Which look a verdict is of, and what waits for the next one; empty where none was declared."""
    if not look.number:
        return ""
    said = f"look {look.number} of {look.total}, {len(look.seeds)} of {look.last} seeds"
    if not look.waiting:
        return said
    one, wait = ("seed is", "waits") if look.waiting == 1 else ("seeds are", "wait")
    return f"{said}; {look.waiting} more {one} there and {wait} for the next look"


def _say_single(verdict: Verdict) -> str:
    if not verdict.n_seeds:
        return f"Cannot be tested: {verdict.reason}."
    measured = f"{_describe_effect(verdict)} ({'; '.join(_list_evidence(verdict))})"
    if verdict.outcome == "UNTESTABLE":
        return f"Cannot be tested: {verdict.reason}. So far {measured[0].lower()}{measured[1:]}."
    conclusion = f" {conclude_interval(verdict)}." if verdict.outcome_with in ("", verdict.outcome) else ""
    return f"{measured}.{conclusion}{_say_networks(verdict)}"


def _name_estimand(claim: Claim) -> str:
    if not claim.epochs:
        return NOUNS[claim.estimand]
    first, last = claim.epochs
    rise = f"first stands {claim.smallest_rise:g} nats above its minimum"
    return f"share of runs whose fitted test loss {rise} in epochs {first} to {last}"


def _describe_effect(verdict: Verdict) -> str:
    claim, noun = verdict.claim, _name_estimand(verdict.claim)
    if is_level(claim):
        return f"In the {claim.contrast} networks the {noun} was {say_effect(verdict)}"
    if claim.by:
        return f"What regularisation does to the {noun} changed by {say_effect(verdict)}"
    if any(low <= 0 <= high for low, high in (verdict.interval, verdict.interval_95)):
        return f"The estimated effect of regularisation on the {noun} is {say_effect(verdict)}"
    return _describe_side(verdict)


def _describe_side(verdict: Verdict) -> str:
    verb = "lowered" if verdict.effect < 0 else "raised"
    size = f"{format_size(abs(verdict.effect), verdict)} {say_unit(verdict)}"
    return f"{SUBJECT}{verb} the {_name_estimand(verdict.claim)} by {size}"


def _list_evidence(verdict: Verdict) -> list[str]:
    """The parts of the bracket behind an effect."""
    claim, parts, seeds = verdict.claim, [], count(verdict.n_seeds, "seed")
    low, high = verdict.interval_95
    if verdict.n_seeds > 1 and high - low > 1e-9:
        covers = f"{seeds} and {verdict.images:,} test images" if claim.over == "seeds and images" else seeds
        parts.append(f"95 % CI {say_bounds(verdict.interval_95, verdict)} over {covers}")
    else:
        parts.append(seeds)
    parts += [part for part in (say_twins(verdict), say_look(verdict.look), _say_images(verdict)) if part]
    where = "means of the last 3 epochs" if claim.at != "last epoch" else f"epoch {verdict.epochs}"
    if not claim.epochs:
        parts.append(where + (f", {verdict.subset:,} training images" if verdict.subset else ""))
    if claim.estimand == "gap" and not math.isnan(verdict.reduction[1]):
        change, weakest, strongest = (-100 * part for part in verdict.reduction)
        parts.append(f"relative to plain {change:+.1f} %, 95 % CI {strongest:+.1f} to {weakest:+.1f}")
    if not math.isnan(verdict.p_adjusted):
        parts.append(_say_test(verdict))
    return parts


def _say_test(verdict: Verdict) -> str:
    """The level and the p of the verdict, and what an exact test says."""
    alpha = 1 - verdict.level
    judged = f"judged at alpha {alpha:.3g}"
    if alpha < verdict.claim.alpha * (1 - 1e-9):
        reasons = ["Holm's correction"] if alpha < verdict.claim.alpha * verdict.look.share * (1 - 1e-9) else []
        reasons += ["this look's share"] if verdict.look.share < 1 else []
        judged += f" after {' and '.join(reasons)}"
    against = " against the margin" if verdict.claim.direction == "not_higher" else ""
    judged += f", adjusted p {format_p(verdict.p_adjusted)}{against}"
    if verdict.p_sign_flip <= 2 / 2**verdict.n_seeds and 2 / 2**verdict.n_seeds > alpha:
        return f"{judged}; an exact test cannot reject with {verdict.n_seeds} seeds, so this rests on the t interval"
    return f"{judged}, sign-flip p {format_p(verdict.p_sign_flip)}"


def _say_images(verdict: Verdict) -> str:
    if math.isnan(verdict.half_images):
        return ""
    seeds, images = (format_size(half, verdict) for half in (verdict.half_seeds, verdict.half_images))
    over = f"over seeds and {verdict.images:,} test images"
    return f"half-width {seeds} {name_scale(verdict)} over seeds, {images} {over}"


def _say_networks(verdict: Verdict) -> str:
    across = verdict.across
    if across is None:
        return ""
    bounds = [across.low, across.high, across.new_low, across.new_high]
    if verdict.unit == "fraction":  # there is none beyond 1
        bounds = [min(1.0, max(-1.0, bound)) for bound in bounds]
    mean, single = say_bounds(bounds[:2], verdict), say_bounds(bounds[2:], verdict)
    new = "" if verdict.claim.by else f", and a new one in {single}"
    suggestive = f" (suggestive: only {across.twins} twins)" if across.twins < ENOUGH_TWINS else ""
    where = f"over networks like them (95 %) the {'slope' if verdict.claim.by else 'mean'} would lie in {mean}"
    return f" The interval is about these networks; {where}{new}{suggestive}."


def _say_troubles(verdict: Verdict) -> str:
    """Which runs make the verdict doubtful, and what it is with and without them."""
    if not verdict.troubles:
        return ""
    named = f" Beware: {'; '.join(verdict.troubles)}."
    without = verdict.without
    if without is None:
        return f"{named} So it cannot count as {verdict.outcome_with}." if verdict.outcome_with else named
    said = f"{named} With {'these' if len(verdict.troubles) > 1 else 'it'}: {verdict.outcome_with}."
    numbers = without.reason
    if is_measured(without):
        numbers = f"{say_effect(without)}, 95 % CI {say_bounds(without.interval_95, without)}, "
        numbers += f"{without.n_seeds} seeds, twins: {without.twins}"
    result = f"{without.outcome} ({numbers})" if numbers else without.outcome
    last = "" if without.outcome == verdict.outcome_with else " As the two differ, the verdict is open."
    return f"{said} Without: {result}.{last}"


def _say_headline(verdict: Verdict) -> str:
    parts = ", ".join(f"{part.name} ({part.outcome})" for part in verdict.parts)
    if verdict.outcome == "UNTESTABLE":
        return f"Cannot be tested, as a part cannot: {verdict.reason}. Parts: {parts}."
    alpha = f"alpha {1 - verdict.level:.3g}" + (", this look's share," if verdict.look.share < 1 else "")
    p = f"adjusted p {format_p(verdict.p)}, the largest of the parts'"
    verbs = {
        "SUPPORTED": f"All parts hold at {alpha} each, which needs no correction as all must ({p})",
        "REFUTED": "One part is refuted, so the claim is too",
        "NEGLIGIBLE": "One part's effect is too small to matter, so the claim does not hold either",
        "INCONCLUSIVE": f"Not all parts hold, and none is refuted when corrected for all parts ({p})",
    }
    said = verbs[verdict.outcome] if verdict.outcome_with in ("", verdict.outcome) else "Open"
    return f"{said}. As separate claims, corrected for the whole family: {parts}."
