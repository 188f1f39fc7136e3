"""In words: what one seed would have concluded, how far verdicts rest on choices, what a design can reach."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.analysis.claims.prospects import Prospect
from pipeline.analysis.claims.single_seeds import count_astray, count_best
from pipeline.analysis.claims.verdict import name_unit
from pipeline.analysis.comparison import Comparison
from pipeline.report.text.numbers import SCALES
from pipeline.study.experiment import Experiment


def say_single_seeds(comparison: Comparison) -> list[str]:
    """One line on how often a single seed of these would have pointed the other way, or named another best variant."""
    astray = ", ".join(f"{each.claim} {each.astray} of {each.seeds}" for each in count_astray(comparison.verdicts))
    said = [f"Seeds that alone point the other way: {astray}"] if astray else []
    wins, seeds = count_best(comparison.runs)
    if wins and (astray or comparison.conclusion.rule == "all-seeds"):
        names = ", ".join(f"{name} with {count}" for name, count in wins.items())
        said.append(f"Lowest test error, of {seeds} seeds: {names}")
    return [f"What one seed would have concluded. {'. '.join(said)}."] if said else []


def say_specifications(comparison: Comparison) -> list[str]:
    """One line on with how many choices of the fixed grid each verdict stays what it is."""
    said = [
        f"{each.verdict.name} ({each.verdict.outcome}) holds in {each.holds} of {len(each.choices)}"
        for each in comparison.specifications
    ]
    if not said:
        return []
    return [
        "Judged again over a fixed grid (last epoch or mean of the last 3, other rises of an onset, each twin and each "
        f"seed left out): {'; '.join(said)}."
    ]


def say_prospects(experiment: Experiment, prospects: Sequence[Prospect]) -> list[str]:
    """A line for each claim: which verdicts it can reach with all declared seeds, and with what power."""
    lines = [_say_prospect(prospect) for prospect in prospects]
    lines += [
        f"{claim.name}: as its parts, {', '.join(claim.all_of)}; all must hold"
        for claim in experiment.claims
        if claim.all_of
    ]
    return lines


def _say_prospect(prospect: Prospect) -> str:
    claim = prospect.claim
    if prospect.obstacle:
        return f"{claim.name}: UNTESTABLE whatever the runs say: {prospect.obstacle}"
    at = f"{prospect.seeds} seeds, alpha {prospect.alpha:.2g} at the last look"
    words = "SUPPORTED, REFUTED" + ("" if claim.direction == "not_higher" else ", NEGLIGIBLE") + " or INCONCLUSIVE"
    if math.isnan(prospect.power):
        return f"{claim.name}: {words}; power unknown, as no two seeds are finished ({at})"
    scale, decimals, unit = SCALES[name_unit(claim).split()[0]]
    size = f"{claim.smallest_effect * scale:.{decimals}f} {unit}"
    spread = (
        f"SD of a seed {prospect.sd * scale:.{decimals}f} {unit}, the upper 80 % limit from {prospect.stored} seeds"
    )
    if claim.direction == "not_higher":
        chance = f"SUPPORTED with {100 * prospect.power:.0f} % if there is no difference (margin {size})"
    else:
        chance = f"SUPPORTED with {100 * prospect.power:.0f} % if the effect is {size}"
        chance += f", NEGLIGIBLE with {100 * prospect.negligible:.0f} % if there is none"
    return f"{claim.name}: {words}; {chance} ({at}; {spread})"
