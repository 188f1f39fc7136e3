"""In words: what one seed would have concluded, how far verdicts rest on choices, what a design can reach, what two
runs say of the same images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.analysis.claims.images import Discordance
from pipeline.analysis.claims.prospects import Prospect
from pipeline.analysis.claims.specification import MOST_PARTS, Specification
from pipeline.analysis.claims.verdict import name_unit
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.statistics import count_best
from pipeline.plain import count
from pipeline.report.text.numbers import SCALES, format_p
from pipeline.study.experiment import Experiment

MOST_NAMED = 3  # choices with another verdict


def say_single_seeds(comparison: Comparison) -> list[str]:
    """One line on how often a single seed of these would have pointed the other way, or named another best variant."""
    several = [verdict for verdict in comparison.verdicts if len(verdict.per_seed) > 1]
    astray = ", ".join(f"{verdict.name} {verdict.astray} of {len(verdict.per_seed)}" for verdict in several)
    said = (
        [f"Seeds that on their own fall on the other side of 0, or of the margin, from the mean: {astray}"]
        if astray
        else []
    )
    wins, seeds = count_best(comparison.runs)
    if wins and (astray or comparison.conclusion.rule == "all-seeds"):
        names = ", ".join(f"{name} with {number}" for name, number in wins.items())
        tied = " (a tie counts for each)" if sum(wins.values()) > seeds else ""
        said.append(f"Lowest test error after the last epoch, of {seeds} seeds: {names}{tied}")
    return [f"What one seed would have concluded. {'. '.join(said)}."] if said else []


def say_specifications(comparison: Comparison) -> list[str]:
    """One line on with how many choices of the fixed grid each verdict stays what it is, and with which it does not."""
    said = [
        f"{each.verdict.name} ({each.verdict.outcome}) holds in {each.holds} of {len(each.choices)}{_name_others(each)}"
        for each in comparison.specifications
    ]
    if not said:
        return []
    many = any(each.verdict.n_seeds > MOST_PARTS for each in comparison.specifications)
    part = f"part of the seeds, of {MOST_PARTS}," if many else "seed"
    return [
        "Judged again over a fixed grid (last epoch or mean of the last 3, other rises of an onset, each twin and each "
        f"{part} left out): {'; '.join(said)}."
    ]


def _name_others(specification: Specification) -> str:
    """The first choices that bring another verdict, in brackets; empty where none does."""
    outcome = specification.verdict.outcome
    others = [f"{each.label}: {each.outcome}" for each in specification.choices if each.outcome != outcome]
    more = f"; {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
    return f" (not {'; '.join(others[:MOST_NAMED])}{more})" if others else ""


def say_prospects(experiment: Experiment, prospects: Sequence[Prospect]) -> list[str]:
    """The verdicts that each claim can reach with all declared seeds, and with what power: a heading and its lines."""
    last = " at the last look" if len(experiment.looks) > 1 else ""
    lines = [f"What the claims can come to with {count(len(experiment.seeds), 'seed')}:"]
    width = max(len(claim.name) for claim in experiment.claims) + 2
    for prospect in prospects:
        first, *more = _say_prospect(prospect, last)
        lines += [f"  {prospect.claim.name:<{width}}{first}", *(" " * (width + 2) + line for line in more)]
    lines += [
        f"  {claim.name:<{width}}as its parts ({', '.join(claim.all_of)}), which must all hold"
        for claim in experiment.claims
        if claim.all_of
    ]
    if any(math.isnan(each.power) and not (each.obstacle or each.hidden) for each in prospects):
        lines.append("  with what power: unknown until two seeds are finished")
    return lines


def _say_prospect(prospect: Prospect, last: str) -> list[str]:
    claim = prospect.claim
    if prospect.obstacle:
        return [f"UNTESTABLE: {prospect.obstacle}"]
    if prospect.hidden:
        return [f"UNTESTABLE, judging by the runs so far: {prospect.hidden}"]
    one_sided = claim.direction == "not_higher"
    if math.isnan(prospect.power):
        return ["SUPPORTED, REFUTED" + ("" if one_sided else ", NEGLIGIBLE") + " or INCONCLUSIVE"]
    scale, decimals, unit = SCALES[name_unit(claim).split()[0]]
    size = f"{claim.smallest_effect * scale:.{decimals}f} {unit}"
    power, negligible = (f"in {100 * chance:.0f} % of studies" for chance in (prospect.power, prospect.negligible))
    if one_sided:
        chances = [f"SUPPORTED {power} if there is no difference (margin {size})"]
    else:
        chances = [f"SUPPORTED {power} if the effect is {size}", f"NEGLIGIBLE {negligible} if there is none"]
    spread = f"SD of a seed at most {prospect.sd * scale:.{decimals}f} {unit}"
    if prospect.images:
        spread += f", standard error of the test images {prospect.images * scale:.{decimals}f}"
    spread += f", judging by {prospect.stored} seeds"
    return [*chances, f"({spread}; level {prospect.alpha:.2g}{last})"]


def say_differing(found: Discordance, names: Sequence[str]) -> list[str]:
    """The four counts, the test, and what it is about."""
    first, second = len(found.first_only), len(found.second_only)
    right = found.images - found.both_wrong - first - second
    return [
        f"Of {found.images:,} test images both got {right:,} right and {found.both_wrong:,} wrong.",
        f"Only {names[0]} got {first} right, only {names[1]} got {second} right.",
        f"McNemar's exact test: p {format_p(found.p)}.",
        "The test is of these two trained networks on such images; it says nothing about other seeds.",
    ]
