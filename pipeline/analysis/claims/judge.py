"""Judge declared claims: a verdict with its effect, interval, adjusted p, and the effect of each twin.

Every claim is held against one number, its null: 0 for a contrast, `reference` for a level, the margin for "not
higher". The interval is two-sided, at the alpha that the claim's look and Holm's procedure within its family leave it,
so it excludes the null exactly where the adjusted p is at most alpha. With I the interval and s the smallest effect of
interest:

| verdict | direction lower or higher | direction not_higher (margin s) |
| --- | --- | --- |
| SUPPORTED | I on the claim's side of the null | I below s; says so where I is also above 0, or below it |
| REFUTED | I on the other side | I above s |
| NEGLIGIBLE | I within s of the null, and holds it | - |
| INCONCLUSIVE | else | I holds s |

Before all that: UNTESTABLE without matched twins, below 5 complete seeds (seeds that have every run that the claim
needs), before the first declared look (claims.design), if all seeds agree up to rounding and leave no spread to
judge by, if test images are to be covered and were not recorded, if a slope has fewer than three depths, or if noise
hides an onset. DEVIATED if the claim, a part of it, or the plan (variants, seeds, settings) is not as it was frozen; a
claim that is added later is DEVIATED itself and leaves the others alone, one that is taken away relaxes the correction
of those that stay, and makes them all DEVIATED.

Where runs collapsed or a network did not train (claims.troubles), the claim is judged with and without them; it keeps
its verdict where both are the same word, else it is INCONCLUSIVE. Where a cell ended without finite numbers nothing is
SUPPORTED.

A headline (`all_of`) is an intersection-union test: SUPPORTED if each part is, at the look's share of alpha and
without correction, as all of them must hold; REFUTED, or NEGLIGIBLE, if a part is so in its own family and under Holm's
correction over the parts, as one of many suffices. Half of alpha lies on each side throughout, so a claim at its null
is SUPPORTED in alpha / 2 of studies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from pipeline.analysis.claims.contrasts import find_sign
from pipeline.analysis.claims.design import Design, Records
from pipeline.analysis.claims.verdict import NAN, Verdict, decide
from pipeline.analysis.claims.weighing import Weighed, count_needed, weigh_claim, weigh_without
from pipeline.analysis.statistics import ALPHA, adjust_holm, permute_signs
from pipeline.study.claims import Claim
from pipeline.study.experiment import PLAN

Singles = Mapping[str, Weighed]


def judge_claims(claims: Sequence[Claim], records: Records, design: Design) -> list[Verdict]:
    """A verdict for each claim, in order; raises AnalysisError if a variant has a seed, or a run an epoch, twice."""
    weighed = {claim.name: weigh_claim(claim, records, design) for claim in claims if not claim.all_of}
    verdicts = _judge(claims, weighed)
    if any(each.troubles.removable for each in weighed.values()):
        others = _judge(claims, {name: weigh_without(each, records) for name, each in weighed.items()})
        verdicts = {name: _weigh_both(verdict, others[name]) for name, verdict in verdicts.items()}
    verdicts = {name: _block(verdict, weighed) for name, verdict in verdicts.items()}
    for claim in claims:
        if claim.all_of:
            parts = tuple(verdicts[name] for name in claim.all_of)
            troubles = tuple(dict.fromkeys(said for part in parts for said in part.troubles))
            verdicts[claim.name] = replace(verdicts[claim.name], parts=parts, troubles=troubles)
    changed = _find_changed([PLAN, *verdicts], design.frozen, design.planned) if design.frozen is not None else set()
    return [_settle(verdicts[claim.name], changed, design) for claim in claims]


def _judge(claims: Sequence[Claim], weighed: Singles) -> dict[str, Verdict]:
    families: dict[str, list[Weighed]] = {}
    for single in weighed.values():
        families.setdefault(single.draft.claim.family, []).append(single)
    verdicts = {verdict.name: verdict for family in families.values() for verdict in _judge_family(family)}
    return verdicts | {claim.name: _judge_headline(claim, weighed, verdicts) for claim in claims if claim.all_of}


def _judge_family(family: Sequence[Weighed]) -> list[Verdict]:
    """Verdicts of the claims of one family; one that is not tested at a look keeps its place in the correction."""
    verdicts = []
    for place, each in enumerate(family):
        claim, look = each.draft.claim, each.draft.look
        tested = [other.draft.look.number == look.number and not other.draft.reason for other in family]
        p_values = [other.draft.p if at else NAN for other, at in zip(family, tested, strict=True)]
        adjusted, levels = adjust_holm(p_values, claim.alpha * look.share)
        local = float(levels[place])
        interval = each.bound(local)
        outcome = each.draft.outcome or decide(claim, interval)
        verdict = replace(
            each.draft,
            outcome=outcome,
            interval=interval,
            interval_95=each.bound(ALPHA),
            level=1 - local,
            p_adjusted=min(1.0, float(adjusted[place]) / look.share) if tested[place] else NAN,
            p_sign_flip=permute_signs([effect - each.draft.null for _, effect in each.draft.per_seed]),
        )
        verdicts.append(replace(verdict, seeds_needed=count_needed(each, local) if verdict.is_open else None))
    return verdicts


def _judge_headline(claim: Claim, weighed: Singles, verdicts: Mapping[str, Verdict]) -> Verdict:
    parts = tuple(verdicts[name] for name in claim.all_of)
    singles = [weighed[name] for name in claim.all_of]
    needed = [count_needed(single, claim.alpha * single.draft.look.share) for single in singles]
    obstacles = list(dict.fromkeys(part.reason for part in parts if part.reason))
    outcome = "UNTESTABLE" if obstacles else _decide_headline(claim, singles, parts)
    p = max(_find_one_sided(single) for single in singles)
    still_open = outcome in ("INCONCLUSIVE", "UNTESTABLE")
    return Verdict(
        claim=claim,
        outcome=outcome,
        reason="; ".join(obstacles),
        level=1 - claim.alpha * min(part.look.share for part in parts),
        p=NAN if obstacles else p,
        p_adjusted=NAN if obstacles else p,
        n_seeds=min(part.n_seeds for part in parts),
        look=parts[0].look,
        twins=min(part.twins for part in parts),
        seeds_needed=None if None in needed or not still_open else max(n for n in needed if n is not None),
        left_out=tuple(dict.fromkeys(gap for part in parts for gap in part.left_out)),
        run_ids=tuple(dict.fromkeys(run_id for part in parts for run_id in part.run_ids)),
        epochs=parts[0].epochs,
        subset=parts[0].subset,
        parts=parts,
    )


def _find_one_sided(single: Weighed) -> float:
    """The p of a part, corrected for its look; 1 where its effect is on the wrong side of its null."""
    draft = single.draft
    towards = find_sign(draft.claim) * (draft.effect - draft.null) > 0
    return min(1.0, draft.p / draft.look.share) if towards else 1.0


def _decide_headline(claim: Claim, singles: Sequence[Weighed], parts: Sequence[Verdict]) -> str:
    if all(single.decide(claim.alpha) == "SUPPORTED" for single in singles):
        return "SUPPORTED"
    p_values = [min(1.0, single.draft.p / single.draft.look.share) for single in singles]
    levels = adjust_holm(p_values, claim.alpha)[1].tolist()
    strict = [single.decide(level) for single, level in zip(singles, levels, strict=True)]
    agreed = [word for word, part in zip(strict, parts, strict=True) if word == part.outcome]
    return next((word for word in ("REFUTED", "NEGLIGIBLE") if word in agreed), "INCONCLUSIVE")


def _weigh_both(verdict: Verdict, other: Verdict) -> Verdict:
    """The verdict with all runs beside the one without the doubtful ones; it stands where they are the same word."""
    if not verdict.troubles and not any(part.troubles for part in verdict.parts):
        return verdict
    if other.run_ids == verdict.run_ids or verdict.outcome == "UNTESTABLE":
        return verdict
    agreed = verdict.outcome == other.outcome
    return replace(
        verdict,
        outcome=verdict.outcome if agreed else "INCONCLUSIVE",
        outcome_with=verdict.outcome,
        without=other,
    )


def _block(verdict: Verdict, weighed: Singles) -> Verdict:
    """Nothing is SUPPORTED where cells ended without finite numbers: they are not missing by chance."""
    names = verdict.claim.all_of or (verdict.name,)
    if verdict.outcome != "SUPPORTED" or not any(weighed[name].troubles.not_finite for name in names):
        return verdict
    return replace(verdict, outcome="INCONCLUSIVE", outcome_with="SUPPORTED")


def _find_changed(names: Iterable[str], frozen: Mapping[str, str], planned: Mapping[str, str]) -> set[str]:
    """Which of PLAN and the claims are not as frozen; one that was taken away changes the plan of all."""
    changed = {name for name in names if name not in frozen or frozen[name] != planned.get(name)}
    return changed | {PLAN} if frozen.keys() - planned.keys() else changed


def _settle(verdict: Verdict, changed: Collection[str], design: Design) -> Verdict:
    parts = tuple(_settle(part, changed, design) for part in verdict.parts)
    deviated = any(name in changed for name in (PLAN, verdict.name, *verdict.claim.all_of))
    word = "DEVIATED" if deviated else verdict.outcome
    return replace(verdict, verdict=word, parts=parts, standing=design.standing)
