"""What the claims of an experiment can come to; draws nothing, so that `plan` is quick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.analysis.claims.design import NO_HISTORY, Records
from pipeline.analysis.claims.prospects import foresee
from pipeline.analysis.comparison import Comparison, Question, ask_experiment, compare_runs
from pipeline.errors import AnalysisError
from pipeline.report.text.lessons import say_prospects
from pipeline.study.experiment import load_experiment
from pipeline.study.predicted import Predicted
from pipeline.tracking.runs import read_history

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.tracking.store import Store


def compare_in(store: Store, experiment_id: str, runs: pd.DataFrame, question: Question) -> Comparison:
    """Answer a question from `runs` (tracking.runs.read_runs); curves and predictions are read when they are needed."""

    def read(run_ids: Sequence[str], needed: bool) -> Mapping[str, Predicted]:
        from pipeline.tracking.files.predicted import read_predicted

        return read_predicted(store, experiment_id, run_ids, needed)

    return compare_runs(runs, lambda run_ids: read_history(store, run_ids), question, read)


def foresee_claims(path: str, store: Store, experiment_id: str, runs: pd.DataFrame) -> list[str]:
    """What each claim of an experiment's file can come to, with the spread of the runs that are there."""
    declared = load_experiment(path)
    try:
        question = ask_experiment(declared, Question(rule="all-seeds"), None)
        records = compare_in(store, experiment_id, runs, question).records
    except AnalysisError:  # nothing comparable has finished yet
        records = Records(runs=runs.iloc[:0], history=NO_HISTORY)
    return say_prospects(declared, foresee(declared, records))
