"""Choose the run that becomes the champion, by a rule that looks at no score of a variant or a seed.

The arm (regularised or plain) is what the experiment's own claims of a margin say, as they were declared before its
first run; within the arm the matched twin with the fewest parameters is taken, within the variant the lowest seed. Or
the user names the variant. There is no validation split in the study, so the test images may decide nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.analysis.claims.verdict import Verdict
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.table.selection import find_images
from pipeline.errors import AnalysisError
from pipeline.study.claims import FEWEST_SEEDS
from pipeline.study.layers import count_parameters
from pipeline.study.variants import Variant, find_variant, matched_twins

ARMS = {True: "regularised", False: "plain"}
SEED_RULE = f"the lowest seed of at least {FEWEST_SEEDS}, whatever its score"
BY_USER = (
    "The user named the variant. If the name was chosen by test scores, the numbers above are optimistic: the study "
    "has no validation split to choose on"
)
BY_CLAIMS = (
    "The claims of a margin that the experiment declared before its first run ({verdicts}) chose the {arm} arm; of its "
    "matched variants the one with the fewest parameters was taken, which looks at no score. The test images had that "
    "one say between two arms, so the numbers above may be optimistic by that much"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """The run to promote: `run_id` is that of the lowest seed in `runs`, the variant's comparable runs, one a seed.

    `reason` says in Markdown how it was chosen, `verdicts` are those of all claims of the experiment.
    """

    variant: Variant
    runs: pd.DataFrame
    reason: str
    verdicts: Sequence[Verdict]

    @property
    def run_id(self) -> str:
        """The id of the run to promote."""
        return str(self.runs.sort_values("seed")["run_id"].iloc[0])


def choose_run(comparison: Comparison, named: str = "", frozen_late: bool = False) -> Choice:
    """The run that the evidence carries; `named` is the user's variant, "" leaves the choice to the claims.

    `frozen_late` says that the claims were frozen after the first run, or never. Raises AnalysisError, or
    UnknownVariant, where the evidence does not carry the choice.
    """
    deciding = [verdict for verdict in comparison.verdicts if _bounds_harm(verdict)]
    if named:
        variant = find_variant(named, comparison.question.table)
        reason = BY_USER
        if deciding:
            _check_arm(variant, deciding)
            reason += f"; the experiment's claims do not speak against it ({_list_verdicts(deciding)})"
        if frozen_late:
            reason += ". These claims were not frozen before the first run, so they are weak evidence"
    else:
        if frozen_late and deciding:
            raise AnalysisError(
                "the claims were not frozen before the first run, so they may have been chosen by test results; "
                "train again, or name the variant with --variant"
            )
        arm = _decide_arm(deciding)
        variant = _find_smallest(comparison, arm)
        reason = BY_CLAIMS.format(verdicts=_list_verdicts(deciding), arm=ARMS[arm])
    runs = _take_seeds(comparison, variant)
    return Choice(variant=variant, runs=runs, reason=f"{reason}.", verdicts=comparison.verdicts)


def _bounds_harm(verdict: Verdict) -> bool:
    """Whether a claim says that regularisation does not do worse on the test images by a margin or more."""
    claim = verdict.claim
    return claim.direction == "not_higher" and claim.estimand in ("test_error", "test_loss") and not claim.by


def _decide_arm(deciding: Sequence[Verdict]) -> bool:
    """Whether the claims choose the regularised arm; raises AnalysisError where they choose none."""
    if not deciding:
        raise AnalysisError(
            "no claim of the experiment chooses between regularised and plain; give an experiment file with a claim on "
            "test_error or test_loss with direction not_higher, or name the variant with --variant"
        )
    for verdict in deciding:
        if verdict.verdict not in ("SUPPORTED", "REFUTED"):
            raise AnalysisError(f'the claim "{verdict.name}" is {verdict.verdict}: {_say_obstacle(verdict)}')
    if len({verdict.verdict for verdict in deciding}) > 1:
        raise AnalysisError(f"the claims do not agree ({_list_verdicts(deciding)}); more seeds or other claims decide")
    return deciding[0].verdict == "SUPPORTED"


def _say_obstacle(verdict: Verdict) -> str:
    if verdict.verdict == "DEVIATED":
        return "it changed after the first run; put it back, or train again under another name"
    if verdict.outcome_with:
        return f"{'; '.join(dict.fromkeys(verdict.troubles))}; look into these runs, or train more seeds"
    if verdict.reason:
        return f"{verdict.reason}; train the missing cells with `python -m pipeline sweep`"
    needed = "more than 10,000" if verdict.seeds_needed is None else f"about {verdict.seeds_needed}"
    return f"{verdict.n_seeds} seeds do not decide it; {needed} would"


def _check_arm(variant: Variant, deciding: Sequence[Verdict]) -> None:
    """Raise AnalysisError where the claims speak against the named variant, or do not speak of it."""
    arm = _decide_arm(deciding)
    if not variant.twin:
        raise AnalysisError(f"{variant.name} has no matched twin, so the experiment's claims say nothing about it")
    if variant.regularised != arm:
        raise AnalysisError(
            f"the claims ({_list_verdicts(deciding)}) choose the {ARMS[arm]} arm, and {variant.name} is "
            f"{ARMS[not arm]}; promote its twin {variant.twin}"
        )


def _find_smallest(comparison: Comparison, arm: bool) -> Variant:
    """The variant of the arm with the fewest parameters, of those twins of which both are compared."""
    declared = comparison.question.variants
    present = set(comparison.runs["variant"] if declared is None else declared)
    rows = [pair[arm] for pair in matched_twins(comparison.question.table, present)]
    images = find_images(comparison.runs)
    return min(rows, key=lambda row: count_parameters(row, images)[0])


def _take_seeds(comparison: Comparison, variant: Variant) -> pd.DataFrame:
    """The comparable runs of a variant, one a seed; raises AnalysisError for too few."""
    runs = comparison.runs[comparison.runs["variant"] == variant.name]
    if len(runs) < FEWEST_SEEDS:
        raise AnalysisError(
            f"{variant.name} has {len(runs)} finished seeds under the same settings, and a promotion needs "
            f"{FEWEST_SEEDS}; train more of them with `python -m pipeline sweep`"
        )
    return runs


def _list_verdicts(verdicts: Sequence[Verdict]) -> str:
    return ", ".join(f"{verdict.name} {verdict.verdict}" for verdict in verdicts)
