"""One comparison from runs to verdicts: which runs, the table, the onsets, the claims, the exploration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from pipeline.analysis.claims.design import Design, Records
from pipeline.analysis.claims.judge import judge_claims
from pipeline.analysis.claims.specification import Specification, vary_choices
from pipeline.analysis.claims.verdict import Verdict
from pipeline.analysis.onset import find_onsets
from pipeline.analysis.statistics import compare_all_pairs, tabulate_errors
from pipeline.analysis.table.conclusion import Conclusion, conclude
from pipeline.analysis.table.selection import MNIST_SHA256, SharedSettings, newest_settings, select_runs
from pipeline.errors import AnalysisError
from pipeline.study.claims import Claim, Standing
from pipeline.study.custom import list_own
from pipeline.study.experiment import Experiment, hash_plan
from pipeline.study.predicted import Predicted
from pipeline.study.settings import COMPARED, name_option

ReadHistory = Callable[[Sequence[str]], pd.DataFrame]
ReadPredicted = Callable[[Sequence[str], bool], Mapping[str, Predicted]]
UNDECLARED = "not declared in the experiment"


@dataclass(frozen=True, kw_only=True)
class Question(Design):
    """What is asked of the runs, and what an experiment's file declares around it.

    `rule` chooses the runs of the table, `asked` names settings that they must have (`epochs`: 5), `show` the columns
    and rows beside the study's own: truth, published, controls. `claims` are those of the file.
    """

    rule: str = "newest"
    asked: Mapping[str, int | str] = field(default_factory=dict)
    show: frozenset[str] = frozenset()
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """What the runs say to the question.

    `runs` are all comparable ones, one a variant and seed; `broken` as in Records. What needs more than the table is
    worked out, and the history read, when it is first asked for.
    """

    conclusion: Conclusion
    runs: pd.DataFrame
    question: Question
    read_history: ReadHistory
    read_predicted: ReadPredicted | None = None
    broken: frozenset[tuple[str, int]] = frozenset()

    @cached_property
    def history(self) -> pd.DataFrame:
        """The losses of `runs` by epoch; raises what the reader raises."""
        return self.read_history(list(self.runs["run_id"]))

    @cached_property
    def onsets(self) -> pd.DataFrame:
        """A row a run with a whole curve: run_id, variant, seed, regularised, and what find_onsets says of it.

        Raises AnalysisError if a run has an epoch twice.
        """
        rise = max((claim.smallest_rise for claim in self.question.claims), default=0.0)
        runs = self.runs[["run_id", "variant", "seed", "regularised"]]
        return runs.join(find_onsets(self.history, rise), on="run_id", how="inner")

    @property
    def missing(self) -> list[str]:
        """The variants without a run, of those declared, or of the study's where none was."""
        wanted = self.question.variants or self.conclusion.missing
        return [name for name in self.conclusion.missing if name in wanted]

    @property
    def claimed_onset(self) -> tuple[int, int] | None:
        """The epochs in which a claim says that overfitting begins, None where none does."""
        return next((claim.epochs for claim in self.question.claims if claim.epochs), None)

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """A verdict for each claim; reads no history without claims. Raises AnalysisError as judge_claims does."""
        claims = self.question.claims
        return judge_claims(claims, self.records, self.question) if claims else []

    @cached_property
    def specifications(self) -> list[Specification]:
        """Each tested claim judged again over a fixed grid of choices."""
        return vary_choices(self.verdicts, self.records, self.question) if self.verdicts else []

    @property
    def records(self) -> Records:
        """What was measured, for the claims."""
        return Records(runs=self.runs, history=self.history, predicted=self.predicted, broken=self.broken)

    @cached_property
    def predicted(self) -> Mapping[str, Predicted]:
        """What the runs of twins said to each test image, if a claim is about errors or losses; some may be missing.

        They are read where a claim's interval is to cover images, else only where that is cheap.
        """
        claims = [claim for claim in self.question.claims if claim.estimand in ("test_error", "test_loss")]
        if not claims or self.read_predicted is None:
            return {}
        needed = any(claim.over == "seeds and images" for claim in claims)
        return self.read_predicted(list(self.runs.loc[self.runs["twin"] != "", "run_id"]), needed)

    @cached_property
    def pairs(self) -> pd.DataFrame | None:
        """The exploratory comparison of all pairs in test error; None below three complete seeds."""
        errors = tabulate_errors(self.runs)
        return None if errors is None else compare_all_pairs(errors)


def ask_experiment(
    experiment: Experiment, question: Question, frozen: Mapping[str, str] | None, standing: Standing = ""
) -> Question:
    """The question with the experiment's settings, cells, claims and, where it has some, its control rows.

    `frozen` is the experiment's hash_plan as it was frozen (None: never), `standing` whether that was before the first
    run. Raises AnalysisError where the question asks for a setting that the experiment has fixed.
    """
    settings = experiment.settings
    asked: dict[str, int | str] = {name: getattr(settings, name) for name in COMPARED}
    for name in question.asked:
        if name in asked:
            raise AnalysisError(f"the experiment file fixes {name}; leave --{name_option(name)} out")
    if settings.data == "auto" and not settings.subset:
        asked["data_sha256"] = MNIST_SHA256
    controls = {"controls"} if any(not experiment.table[name].published for name in experiment.variants) else set()
    return replace(
        question,
        asked={**question.asked, **asked},
        show=question.show | controls,
        claims=experiment.claims,
        variants=experiment.variants,
        seeds=experiment.seeds,
        looks=experiment.looks,
        frozen=frozen,
        standing=standing if experiment.claims else "",
        planned=hash_plan(experiment),
        table=experiment.table,
    )


def compare_runs(
    runs: pd.DataFrame, read_history: ReadHistory, question: Question, read_predicted: ReadPredicted | None = None
) -> Comparison:
    """Answer the question from the cells that it declares; the readers are called late, for the chosen runs alone.

    Raises AnalysisError where no run can be compared.
    """
    declared = pd.Series(True, runs.index)
    if question.variants is not None:
        declared &= runs["variant"].isin(question.variants)
    if question.seeds is not None:
        declared &= runs["seed"].isin(question.seeds)
    table = question.table
    settings = newest_settings(runs[declared], table, **question.asked)
    selection = select_runs(runs[declared], settings, question.rule, table)
    others = runs.loc[~declared, ["run_id", "variant", "seed"]].assign(reason=UNDECLARED)
    selection = replace(selection, left_out=pd.concat([selection.left_out, others], ignore_index=True))
    rows = [table[name] for name in question.variants or ()] if list_own(table) else None
    chosen = select_runs(runs[declared], settings, "all-seeds", table).chosen
    return Comparison(
        conclusion=conclude(selection, rows=rows, **dict.fromkeys(question.show, True)),
        runs=chosen.assign(twin=[table[name].twin or "" for name in chosen["variant"]]),
        question=question,
        read_history=read_history,
        read_predicted=read_predicted,
        broken=_find_broken(runs[declared], selection.left_out, settings),
    )


def _find_broken(runs: pd.DataFrame, left_out: pd.DataFrame, settings: SharedSettings) -> frozenset[tuple[str, int]]:
    """The cells of runs with these settings that ended, or were left out, as a number was not finite."""
    reasons = left_out.loc[left_out["reason"].str.contains("finite"), "run_id"]
    suspects = runs[runs["run_id"].isin(reasons)].to_dict("records")
    same = (run for run in suspects if not settings.describe_differences(run))
    return frozenset((str(run["variant"]), int(run["seed"])) for run in same)
