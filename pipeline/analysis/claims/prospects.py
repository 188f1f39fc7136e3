"""Which verdicts an experiment's design can reach, and with what power, before its hours are spent."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.analysis.claims.contrasts import FEWEST_STEPS
from pipeline.analysis.claims.design import Design, Records
from pipeline.analysis.claims.verdict import Verdict
from pipeline.analysis.claims.weighing import Weighed, weigh_claim
from pipeline.analysis.power import bound_sd, find_power, find_power_of_none
from pipeline.study.claims import FEWEST_SEEDS, Claim
from pipeline.study.experiment import Experiment
from pipeline.study.variants import matched_twins


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """What a claim can come to with all its seeds: at `alpha`, the least that its corrections leave it.

    `obstacle` says why it can only be UNTESTABLE. With the SD of a seed as stored (at its upper 80 % limit, from
    `stored` seeds; nan where there are none): `power` to see the smallest effect on its own side (not_higher: to be
    SUPPORTED where there is no difference), `negligible` to be NEGLIGIBLE where there is none. `draft` names the unit.
    """

    claim: Claim
    seeds: int
    alpha: float
    obstacle: str = ""
    sd: float = float("nan")
    stored: int = 0
    power: float = float("nan")
    negligible: float = float("nan")
    draft: Verdict | None = None


def foresee(experiment: Experiment, records: Records) -> list[Prospect]:
    """A prospect of each claim that stands by itself; a headline reaches what its parts reach."""
    design = Design(variants=experiment.variants, seeds=experiment.seeds, table=experiment.table)
    singles = [claim for claim in experiment.claims if not claim.all_of]
    sizes = {family: sum(claim.family == family for claim in singles) for family in {c.family for c in singles}}
    share = 1.0
    if experiment.looks:
        before = experiment.looks[-2] if len(experiment.looks) > 1 else 0
        share = (experiment.looks[-1] - before) / experiment.looks[-1]
    return [
        _foresee_claim(
            claim, experiment, weigh_claim(claim, records, design), claim.alpha * share / sizes[claim.family]
        )
        for claim in singles
    ]


def _foresee_claim(claim: Claim, experiment: Experiment, weighed: Weighed, alpha: float) -> Prospect:
    n = len(experiment.seeds)
    prospect = Prospect(claim=claim, seeds=n, alpha=alpha, obstacle=find_design_obstacle(claim, experiment))
    estimate = weighed.estimate
    if prospect.obstacle or estimate.n < 2 or not estimate.sd > 0:
        return prospect
    sd = bound_sd(estimate.error * estimate.n**0.5, estimate.n)
    return Prospect(
        claim=claim,
        seeds=n,
        alpha=alpha,
        sd=sd,
        stored=estimate.n,
        power=find_power(sd, claim.smallest_effect, n, alpha),
        negligible=float("nan")
        if claim.direction == "not_higher"
        else find_power_of_none(sd, claim.smallest_effect, n, alpha),
        draft=weighed.draft,
    )


def find_design_obstacle(claim: Claim, experiment: Experiment) -> str:
    """Why no run can bring a verdict on a claim; empty if one can."""
    names = set(experiment.variants)
    twins = [pair for pair in matched_twins(experiment.table) if {row.name for row in pair} <= names]
    if not twins:
        return "the experiment has no matched twins"
    if len(experiment.seeds) < FEWEST_SEEDS:
        return f"a verdict needs {FEWEST_SEEDS} seeds, and the experiment declares {len(experiment.seeds)}"
    factor = "kernel" if claim.by == "kernel" else "depth_counted"
    steps = sorted({getattr(plain, factor) for plain, _ in twins})
    if claim.by and len(steps) < FEWEST_STEPS:
        have = " and ".join(map(str, steps))
        return f"a slope needs twins of {FEWEST_STEPS} different {claim.by}s, and they have {have}"
    return ""
