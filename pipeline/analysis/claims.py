"""Judge declared claims: a verdict with its effect, interval, adjusted p, agreement of twins and an honest sentence.

Every claim is held against one number, its null: 0 for a contrast, `reference` for a level, the margin for "not
higher". The interval is two-sided, at the alpha that Holm's procedure gives the claim within its family, so it
excludes the null exactly where the adjusted p is at most alpha. With I the interval and s the smallest effect of
interest:

| verdict | direction lower or higher | direction not_higher (margin s) |
| --- | --- | --- |
| SUPPORTED | I on the claim's side of the null | I below s; says so where I is also above 0, or below it |
| REFUTED | I on the other side | I above s |
| NEGLIGIBLE | I within s of the null, and holds it | - |
| INCONCLUSIVE | else | I holds s |

Before all that: UNTESTABLE without matched twins, below 5 complete seeds (seeds that have every twin), if all seeds
agree to the last digit, as there is no spread to judge by, or, of an onset, if noise hides it: the median margin of the
claim's runs is above MOST_HIDDEN times its smallest rise. DEVIATED if the claim, a part of it, or the plan (variants,
seeds, settings) is not as it was frozen; a claim that is added later is DEVIATED itself and leaves the others alone,
one that is taken away relaxes the correction of those that stay, and makes them all DEVIATED.

A headline (`all_of`) is an intersection-union test: SUPPORTED if each part is, at alpha and without correction, as
all of them must hold; REFUTED, or NEGLIGIBLE, if a part is so under Holm's correction over the parts, as one of many
suffices. Half of alpha lies on each side throughout, so a claim at its null is SUPPORTED in alpha / 2 of studies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from pipeline.analysis.contrasts import find_null, find_sign, gather_evidence, measure_runs, pair_twins
from pipeline.analysis.onset import OnsetShare, estimate_onset_share, find_onsets
from pipeline.analysis.power import bound_sd, count_seeds
from pipeline.analysis.sentences import say_verdict
from pipeline.analysis.statistics import (
    Estimate,
    adjust_holm,
    estimate_mean,
    estimate_reduction,
    permute_signs,
    weigh_agreement,
)
from pipeline.analysis.verdict import NAN, Verdict, decide, name_unit
from pipeline.study.claims import FEWEST_SEEDS, Claim
from pipeline.study.experiment import PLAN
from pipeline.study.variants import VARIANTS, Variants

MOST_HIDDEN = 3.0
"""Above so many times the rise that a claim asks for, "no onset" says that it could not be seen, not that it is not."""


@dataclass(frozen=True, kw_only=True)
class _Weighed:
    """The estimate of a single claim, and a verdict that lacks only what depends on the correction."""

    estimate: Estimate
    draft: Verdict


def judge_claims(
    claims: Sequence[Claim],
    runs: pd.DataFrame,
    history: pd.DataFrame,
    frozen: Mapping[str, str] | None = None,
    planned: Mapping[str, str] | None = None,
    variants: Iterable[str] | None = None,
    table: Variants = VARIANTS,
) -> list[Verdict]:
    """A verdict for each claim, in their order.

    `runs` holds comparable finished runs alone, one a variant and seed; `history` at least their honest/test_loss.
    `frozen` is study.experiment.hash_plan() as it was when the first run started (None: nothing was frozen), `planned`
    as it is now. `variants` are those that the experiment declares: a twin that never finished then counts as missing,
    instead of being overlooked; `table` says which of them are twins.

    Raises:
        AnalysisError: a variant has a seed twice, or a run an epoch twice.
    """
    declared = None if variants is None else tuple(variants)
    weighed = {claim.name: _weigh(claim, runs, history, (declared, table)) for claim in claims if not claim.all_of}
    families: dict[str, list[_Weighed]] = {}
    for single in weighed.values():
        families.setdefault(single.draft.claim.family, []).append(single)
    verdicts = {verdict.name: verdict for family in families.values() for verdict in _judge_family(family)}
    verdicts |= {claim.name: _judge_headline(claim, weighed, verdicts) for claim in claims if claim.all_of}
    changed = _find_changed([PLAN, *verdicts], frozen, planned or {}) if frozen is not None else set()
    return [_settle(verdicts[claim.name], changed) for claim in claims]


def _find_changed(names: Iterable[str], frozen: Mapping[str, str], planned: Mapping[str, str]) -> set[str]:
    """Which of PLAN and the claims are not as frozen; one that was taken away changes the plan of all."""
    changed = {name for name in names if name not in frozen or frozen[name] != planned.get(name)}
    return changed | {PLAN} if frozen.keys() - planned.keys() else changed


def _settle(verdict: Verdict, changed: Collection[str]) -> Verdict:
    parts = tuple(_settle(part, changed) for part in verdict.parts)
    deviated = any(name in changed for name in (PLAN, verdict.name, *verdict.claim.all_of))
    settled = replace(verdict, verdict="DEVIATED" if deviated else verdict.outcome, parts=parts)
    return replace(settled, sentence=say_verdict(settled))


def _weigh(
    claim: Claim, runs: pd.DataFrame, history: pd.DataFrame, among: tuple[tuple[str, ...] | None, Variants]
) -> _Weighed:
    blocks = pair_twins(runs, measure_runs(runs, history, claim), *among)
    evidence = gather_evidence(claim, blocks)
    estimate = estimate_mean(evidence.per_seed, evidence.least_sd)
    null = find_null(claim)
    onsets = _watch_arms(claim, blocks.run_ids, runs, history)
    reason = evidence.missing or _find_obstacle(claim, estimate, onsets)
    draft = Verdict(
        claim=claim,
        outcome="UNTESTABLE" if reason else "",
        reason=reason,
        effect=estimate.mean,
        unit=name_unit(claim),
        null=null,
        p=estimate.p_value(null),
        p_sign_flip=permute_signs(evidence.per_seed - null),
        n_seeds=estimate.n,
        per_seed=tuple(zip(blocks.seeds, evidence.per_seed.tolist(), strict=False)),
        twins_agree=evidence.agree,
        twins=len(blocks.twins),
        p_twins=weigh_agreement(evidence.agree, len(blocks.twins)),
        onset_share=_share_onsets(claim, onsets),
        left_out=blocks.left_out,
        run_ids=blocks.run_ids,
        epochs=int(runs["epochs"].max()) if len(runs) else 0,
        subset=int(runs["subset"].max()) if len(runs) else 0,
    )
    if estimate.n and claim.estimand != "onset" and claim.contrast == "regularised - plain" and not claim.by:
        means = blocks.regularised.mean(axis=1), blocks.plain.mean(axis=1)
        draft = replace(draft, reduction=estimate_reduction(*means, claim.alpha))
    return _Weighed(estimate=estimate, draft=draft)


def _find_obstacle(claim: Claim, estimate: Estimate, onsets: pd.DataFrame) -> str:
    """Why an estimate can carry no verdict; empty if it can."""
    if estimate.n < FEWEST_SEEDS:
        return f"a verdict needs {FEWEST_SEEDS} complete seeds, the runs have {estimate.n}"
    if estimate.sd == 0:
        return "all seeds gave the same value, so there is no spread to judge by"
    margin = onsets["margin"].median()
    if margin > MOST_HIDDEN * claim.smallest_rise:
        rise = f"a rise of {claim.smallest_rise:g} nats"
        return f"the noise of the test loss hides {rise}: the margin is {margin:.2g} nats in the median run"
    return ""


def _watch_arms(claim: Claim, run_ids: Sequence[str], runs: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """The onsets of those `run_ids` that are in the arms of the claim; no row for a claim about something else."""
    watched = runs["run_id"].isin(run_ids if claim.epochs else ())
    if claim.contrast != "regularised - plain":
        watched &= runs["regularised"] == (claim.contrast == "regularised")
    return find_onsets(history[history["run_id"].isin(runs.loc[watched, "run_id"])], claim.smallest_rise)


def _share_onsets(claim: Claim, onsets: pd.DataFrame) -> OnsetShare | None:
    """The Kaplan-Meier share of the one arm that the claim is about; None for other claims or without runs."""
    if claim.epochs is None or claim.contrast == "regularised - plain" or onsets.empty:
        return None
    return estimate_onset_share(onsets, *claim.epochs, 1 - claim.alpha)


def _judge_family(family: Sequence[_Weighed]) -> list[Verdict]:
    """Verdicts of the claims of one family; one that cannot be tested keeps its place in the correction."""
    alpha = family[0].draft.claim.alpha
    p_values = [NAN if each.draft.reason else each.draft.p for each in family]
    adjusted, levels = adjust_holm(p_values, alpha)
    verdicts = []
    for each, p_adjusted, local in zip(family, adjusted.tolist(), levels.tolist(), strict=True):
        claim, estimate = each.draft.claim, each.estimate
        interval = estimate.interval(local)
        if claim.estimand == "onset" and claim.contrast != "regularised - plain":
            interval = max(interval[0], 0.0), min(interval[1], 1.0)  # a share
        verdicts.append(
            replace(
                each.draft,
                outcome=each.draft.outcome or decide(claim, interval),
                interval=interval,
                level=1 - local,
                p_adjusted=p_adjusted,
                seeds_needed=_count_needed(each, local),
            )
        )
    return verdicts


def _count_needed(weighed: _Weighed, alpha: float) -> int | None:
    """Seeds, all told, that claims of this kind need; None below two seeds, where no spread is known."""
    estimate, claim = weighed.estimate, weighed.draft.claim
    return count_seeds(bound_sd(estimate.sd, estimate.n), claim.smallest_effect, alpha) if estimate.n > 1 else None


def _judge_headline(claim: Claim, weighed: Mapping[str, _Weighed], verdicts: Mapping[str, Verdict]) -> Verdict:
    parts = tuple(verdicts[name] for name in claim.all_of)
    needed = [_count_needed(weighed[name], claim.alpha) for name in claim.all_of]
    obstacles = list(dict.fromkeys(part.reason for part in parts if part.reason))
    p = max(part.p if find_sign(part.claim) * (part.effect - part.null) > 0 else 1.0 for part in parts)
    return Verdict(
        claim=claim,
        outcome="UNTESTABLE" if obstacles else _decide_headline(claim, [weighed[name] for name in claim.all_of]),
        reason="; ".join(obstacles),
        level=1 - claim.alpha,
        p=NAN if obstacles else p,
        p_adjusted=NAN if obstacles else p,
        n_seeds=min(part.n_seeds for part in parts),
        twins_agree=min(part.twins_agree for part in parts),
        twins=min(part.twins for part in parts),
        seeds_needed=None if None in needed else max(number for number in needed if number is not None),
        left_out=tuple(dict.fromkeys(gap for part in parts for gap in part.left_out)),
        run_ids=tuple(dict.fromkeys(run_id for part in parts for run_id in part.run_ids)),
        epochs=parts[0].epochs,
        subset=parts[0].subset,
        parts=parts,
    )


def _decide_headline(claim: Claim, parts: Sequence[_Weighed]) -> str:
    if all(decide(part.draft.claim, part.estimate.interval(claim.alpha)) == "SUPPORTED" for part in parts):
        return "SUPPORTED"
    levels = adjust_holm([part.draft.p for part in parts], claim.alpha)[1].tolist()
    strict = [
        decide(part.draft.claim, part.estimate.interval(alpha)) for part, alpha in zip(parts, levels, strict=True)
    ]
    return next((verdict for verdict in ("REFUTED", "NEGLIGIBLE") if verdict in strict), "INCONCLUSIVE")
