"""Weigh a single claim: its estimate over seeds, and a verdict that lacks only what depends on other claims."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import scipy

from pipeline.analysis.claims.contrasts import (
    Blocks,
    count_test_images,
    explain_lack,
    find_least_sd,
    find_null,
    list_factor,
    pair_twins,
    weigh_twins,
)
from pipeline.analysis.claims.design import Design, Look, Records, find_look
from pipeline.analysis.claims.images import widen_by_images
from pipeline.analysis.claims.networks import list_twins, reach_across, reach_slope
from pipeline.analysis.claims.troubles import Troubles, find_troubles
from pipeline.analysis.claims.verdict import NAN, Verdict, decide, name_unit
from pipeline.analysis.onset import find_hiding_noise, find_onsets
from pipeline.analysis.statistics import (
    ALPHA,
    Array,
    Estimate,
    bound_sd,
    count_seeds,
    estimate_mean,
    estimate_reduction,
)
from pipeline.study.claims import FEWEST_SEEDS, Claim

RESOLUTION = 1e-6
"""Nats: two trainings that differ by less are the same but for rounding."""
IMAGES = ("test_error", "test_loss")


@dataclass(frozen=True, kw_only=True, eq=False)
class Weighed:
    """The estimate of a single claim, and a verdict that lacks only what depends on the correction.

    `hidden` says why noise hides an onset, empty where it does not.
    """

    estimate: Estimate
    draft: Verdict
    blocks: Blocks
    troubles: Troubles
    hidden: str = ""

    def bound(self, alpha: float) -> tuple[float, float]:
        """The interval of the effect; that of a share of runs ends at 0 and 1."""
        low, high = self.estimate.interval(alpha)
        claim = self.draft.claim
        if claim.estimand == "onset" and claim.contrast != "regularised - plain":
            return max(low, 0.0), min(high, 1.0)
        return low, high

    def decide(self, alpha: float) -> str:
        """The verdict at the look's share of alpha."""
        return decide(self.draft.claim, self.bound(alpha * self.draft.look.share))


def weigh_claim(claim: Claim, records: Records, design: Design) -> Weighed:
    """Weigh a claim that stands by itself, on the seeds of its latest look."""
    blocks = pair_twins(records, claim, design)
    ended = {*blocks.seeds, *(seed for _, seed in blocks.broken)}
    order = design.seeds if design.seeds is not None else tuple(sorted(ended))
    look = find_look(blocks.seeds, ended, order, design.looks)
    looked_at = order[: design.looks[look.number - 1]] if look.number else ended
    blocks = blocks.restrict(look.seeds)
    if look.total:  # later seeds are not left out, they are not due yet
        due = looked_at if look.number else ()
        blocks = replace(blocks, left_out={seed: said for seed, said in blocks.left_out.items() if seed in due})
    return _weigh(claim, blocks, records, look, find_troubles(blocks, records, looked_at))


def weigh_without(weighed: Weighed, records: Records) -> Weighed:
    """The same without the seeds and twins that make it doubtful; itself where there is none."""
    troubles, blocks = weighed.troubles, weighed.blocks
    if not troubles.removable:
        return weighed
    seeds = [seed for seed in blocks.seeds if seed not in troubles.seeds]
    twins = [plain.name for plain, _ in blocks.twins if plain.name not in troubles.twins]
    return weigh_blocks(weighed, blocks.restrict(seeds, twins), records)


def weigh_blocks(weighed: Weighed, blocks: Blocks, records: Records) -> Weighed:
    """The same claim at the same look, from a part of its blocks."""
    kept = Troubles(not_finite=weighed.troubles.not_finite)
    return _weigh(weighed.draft.claim, blocks, records, weighed.draft.look, kept)


def count_needed(weighed: Weighed, alpha: float) -> int | None:
    """Seeds, all told, that claims of this kind need; None if no number is enough, or below two, with no spread."""
    estimate, small = weighed.estimate, weighed.draft.claim.smallest_effect
    if estimate.n < 2:
        return None
    return count_seeds(bound_sd(estimate.sd, estimate.n), small, alpha, estimate.lasting)


def _weigh(claim: Claim, blocks: Blocks, records: Records, look: Look, troubles: Troubles) -> Weighed:
    lack, hidden = explain_lack(claim, blocks, records), _find_hidden(claim, blocks, records)
    weights = np.empty(0) if lack or hidden else weigh_twins(claim, blocks.twins)
    per_seed = np.empty(0) if lack or hidden else blocks.effects @ weights
    over_seeds = estimate_mean(per_seed, find_least_sd(claim, blocks, records, weights))
    images = _gather_images(claim, blocks, weights, records)
    over_both = None if images is None or over_seeds.n < 2 else widen_by_images(over_seeds, images)
    covering = claim.over == "seeds and images"
    estimate = over_both if covering and over_both else over_seeds
    reason = lack or _find_obstacle(claim, len(blocks.seeds), estimate.sd, look) or hidden
    if not reason and covering and over_both is None:
        reason = "the interval is to cover test images, and not all runs recorded what they predicted for each"
    null = find_null(claim)
    draft = Verdict(
        claim=claim,
        outcome="UNTESTABLE" if reason else "",
        reason=reason,
        effect=estimate.mean,
        unit=name_unit(claim),
        null=null,
        p=estimate.p_value(null),
        n_seeds=estimate.n,
        look=look,
        per_seed=tuple(zip(blocks.seeds, per_seed.tolist(), strict=False)),
        images=count_test_images(records) if claim.estimand in IMAGES else 0,
        half_seeds=over_seeds.half_width(ALPHA),
        half_images=over_both.half_width(ALPHA) if over_both else NAN,
        twins=len(blocks.twins),
        left_out=tuple(blocks.left_out.values()),
        troubles=troubles.said,
        run_ids=blocks.run_ids,
        epochs=int(records.runs["epochs"].max()) if len(records.runs) else 0,
        subset=int(records.runs["subset"].max()) if len(records.runs) else 0,
    )
    draft = draft if hidden else _add_twins(draft, blocks)
    return Weighed(estimate=estimate, draft=draft, blocks=blocks, troubles=troubles, hidden=hidden)


def _add_twins(draft: Verdict, blocks: Blocks) -> Verdict:
    """The draft with the effect of each twin, what they say of other networks, and the relative effect."""
    claim = draft.claim
    if not blocks.effects.size:
        return draft
    draft = replace(draft, by_twin=list_twins(claim, blocks))
    if claim.by:
        return replace(draft, across=reach_slope(blocks.effects, list_factor(claim, blocks.twins)))
    agree = sum(twin.agrees for twin in draft.by_twin)
    draft = replace(
        draft,
        twins_agree=agree,
        p_twins=float(scipy.stats.binomtest(agree, len(blocks.twins)).pvalue),
        across=reach_across(blocks.effects),
    )
    if claim.estimand == "onset" or claim.contrast != "regularised - plain":
        return draft
    plain, regularised = blocks.values.mean(axis=1).T
    return replace(draft, reduction=estimate_reduction(regularised, plain))


def _gather_images(claim: Claim, blocks: Blocks, weights: Array, records: Records) -> Array | None:
    """The contrast of each image in each seed, shape (seeds, images); None where a run did not record it."""
    if claim.estimand not in IMAGES or not len(weights):
        return None
    total: Array = np.zeros(1)
    for column, place in product(range(len(weights)), np.flatnonzero(blocks.arms)):
        read = [records.predicted.get(str(run_id)) for run_id in blocks.ids[:, column, place]]
        values = [each.measure(claim.estimand, claim.epochs_read) if each else None for each in read]
        known = [value for value in values if value is not None]
        if len(known) < len(values) or len({len(value) for value in known}) > 1:
            return None
        total = total + weights[column] * blocks.arms[place] * np.array(known)
    return total


def _find_obstacle(claim: Claim, seeds: int, sd: float, look: Look) -> str:
    """Why an estimate from so many seeds with this SD can carry no verdict; empty if it can."""
    if look.total and not look.number:
        return f"before the first look at {look.first} seeds (complete so far: {seeds})"
    if seeds < FEWEST_SEEDS:
        return f"a verdict needs {FEWEST_SEEDS} complete seeds, the runs have {seeds}"
    if sd < (0 if claim.estimand in ("onset", "test_error") else RESOLUTION):
        return "all seeds gave the same value but for rounding, so there is no spread to judge by"
    return ""


def _find_hidden(claim: Claim, blocks: Blocks, records: Records) -> str:
    """Why noise hides an onset; empty if it does not, or for a claim about something else."""
    if claim.epochs is None:
        return ""
    rise, history = claim.smallest_rise, records.history[records.history["run_id"].isin(blocks.run_ids)]
    noise = find_hiding_noise(find_onsets(history, rise), rise)
    if not noise:
        return ""
    noisy = f"the noise of the test loss, {noise:.2g} nats an epoch in the median run, hides a rise of {rise:g}"
    return f"{noisy}; more seeds do not change that"
