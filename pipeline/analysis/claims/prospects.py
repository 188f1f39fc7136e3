"""Which verdicts an experiment's design can reach, and with what power, before its hours are spent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from pipeline.analysis.claims.contrasts import explain_steps
from pipeline.analysis.claims.design import Design, Records, find_look
from pipeline.analysis.claims.verdict import NAN
from pipeline.analysis.claims.weighing import Weighed, weigh_claim
from pipeline.analysis.statistics import bound_sd, find_power, find_power_of_none
from pipeline.study.claims import FEWEST_SEEDS, Claim
from pipeline.study.experiment import Experiment
from pipeline.study.variants import matched_twins


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """What a claim can come to with all its seeds: at `alpha`, the least that its corrections leave it.

    `obstacle` says why it can only be UNTESTABLE, `hidden` why it would be so with the noise of the runs so far. With
    the SD of a seed as stored (at its upper 80 % limit, from `stored` seeds; nan where there are none) and the standard
    error `images` of the test images, which more seeds do not lower: `power` is the chance to see the smallest effect
    in the claim's direction (for a not_higher claim: of SUPPORTED if there is no difference), and `negligible` the
    chance of NEGLIGIBLE if there is none.
    """

    claim: Claim
    alpha: float
    obstacle: str = ""
    hidden: str = ""
    sd: float = NAN
    images: float = 0.0
    stored: int = 0
    power: float = NAN
    negligible: float = NAN


def foresee(experiment: Experiment, records: Records) -> list[Prospect]:
    """A prospect of each claim that stands by itself; a headline reaches what its parts reach."""
    design = Design(variants=experiment.variants, seeds=experiment.seeds, table=experiment.table)
    singles = [claim for claim in experiment.claims if not claim.all_of]
    sizes = Counter(claim.family for claim in singles)
    share = find_look(experiment.seeds, experiment.seeds, experiment.seeds, experiment.looks).share
    return [
        _foresee_claim(
            claim, experiment, weigh_claim(claim, records, design), claim.alpha * share / sizes[claim.family]
        )
        for claim in singles
    ]


def _foresee_claim(claim: Claim, experiment: Experiment, weighed: Weighed, alpha: float) -> Prospect:
    obstacle, estimate = find_design_obstacle(claim, experiment), weighed.estimate
    prospect = Prospect(claim=claim, alpha=alpha, obstacle=obstacle, hidden=weighed.hidden)
    if prospect.obstacle or estimate.n < 2 or not estimate.sd > 0:
        return prospect
    sd, effect, n = bound_sd(estimate.sd, estimate.n), claim.smallest_effect, len(experiment.seeds)
    return replace(
        prospect,
        sd=sd,
        images=estimate.lasting**0.5,
        stored=estimate.n,
        power=find_power(sd, effect, n, alpha, estimate.lasting),
        negligible=NAN if claim.direction == "not_higher" else find_power_of_none(sd, effect, n, alpha),
    )


def find_design_obstacle(claim: Claim, experiment: Experiment) -> str:
    """Why no run can bring a verdict on a claim; empty if one can."""
    twins = matched_twins(experiment.table, experiment.variants)
    if not twins:
        return "the experiment has no matched twins"
    if len(experiment.seeds) < FEWEST_SEEDS:
        return f"a verdict needs {FEWEST_SEEDS} seeds, and the experiment declares {len(experiment.seeds)}"
    return explain_steps(claim, twins)
