"""One comparison from runs to verdicts: which runs, the table, the onsets, the claims, the exploration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from pipeline.analysis.claims import judge_claims
from pipeline.analysis.conclusion import Conclusion, conclude
from pipeline.analysis.onset import find_onsets
from pipeline.analysis.selection import MNIST_SHA256, newest_settings, select_runs
from pipeline.analysis.statistics import compare_all_pairs
from pipeline.analysis.verdict import Verdict
from pipeline.errors import AnalysisError
from pipeline.study.experiment import Claim, Experiment
from pipeline.study.variants import VARIANTS

ReadHistory = Callable[[Sequence[str]], pd.DataFrame]
FEWEST_SEEDS_TO_EXPLORE = 3


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of the runs.

    `rule` chooses the runs of the table, `asked` names settings that they must have (`epochs`: 5), `show` the columns
    and rows beside the study's own: truth, published, controls. `frozen_hash` is that of the claims when they were
    frozen.
    """

    rule: str = "newest"
    asked: Mapping[str, int | str] = field(default_factory=dict)
    show: frozenset[str] = frozenset()
    claims: tuple[Claim, ...] = ()
    variants: tuple[str, ...] = ()
    frozen_hash: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """What the runs say.

    `runs` are all comparable ones, one a variant and seed; `history` holds their losses by epoch, `onsets` one row a
    run (analysis.onset.find_onsets), `pairs` the exploratory comparison of all pairs in test error, None below three
    complete seeds.
    """

    conclusion: Conclusion
    runs: pd.DataFrame
    history: pd.DataFrame
    onsets: pd.DataFrame
    verdicts: list[Verdict]
    pairs: pd.DataFrame | None


def ask_experiment(experiment: Experiment, question: Question, frozen_hash: str) -> Question:
    """The question with the experiment's settings, its claims and, where it has some, its control rows."""
    settings = experiment.settings
    asked: dict[str, int | str] = {
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "normalization": settings.normalization,
        "subset": settings.subset,
    }
    if settings.data == "auto" and not settings.subset:
        asked["data_sha256"] = MNIST_SHA256
    controls = {"controls"} if any(not VARIANTS[name].published for name in experiment.variants) else set()
    return Question(
        rule=question.rule,
        asked={**asked, **question.asked},
        show=question.show | controls,
        claims=experiment.claims,
        variants=experiment.variants,
        frozen_hash=frozen_hash,
    )


def compare_runs(runs: pd.DataFrame, read_history: ReadHistory, question: Question) -> Comparison:
    """Answer the question; only the chosen runs' history is read. Raises AnalysisError where no run can be compared."""
    settings = newest_settings(runs, **question.asked)
    selection = select_runs(runs, settings, question.rule)
    conclusion = conclude(selection, **dict.fromkeys(question.show, True))
    comparable = select_runs(runs, settings, "all-seeds").chosen
    history = read_history(list(comparable["run_id"]))
    rise = max((claim.smallest_rise for claim in question.claims), default=0.0)
    return Comparison(
        conclusion=conclusion,
        runs=comparable,
        history=history,
        onsets=find_onsets(history, rise),
        verdicts=judge_claims(question.claims, comparable, history, question.frozen_hash, question.variants),
        pairs=_explore_pairs(comparable),
    )


def _explore_pairs(runs: pd.DataFrame) -> pd.DataFrame | None:
    """All pairs of variants in test error over the seeds that all of them have."""
    errors = 1 - runs.pivot(index="seed", columns="variant", values="final/test_accuracy").dropna()
    if len(errors) < FEWEST_SEEDS_TO_EXPLORE:
        return None
    try:
        return compare_all_pairs(errors)
    except AnalysisError:  # a single variant has no pair
        return None
