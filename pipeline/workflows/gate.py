"""Judge the runs of an experiment against a stored result, from the store to the judgements."""

from __future__ import annotations

from pipeline.analysis.gate.check import check_against
from pipeline.analysis.gate.metrics import Demands, Judgement
from pipeline.study.variants import VARIANTS
from pipeline.tracking.files.hashes import demand_recorded_metrics
from pipeline.tracking.files.predicted import read_predicted
from pipeline.workflows.compare import read_experiment


def gate_experiment(experiment: str, results: str, demands: Demands) -> list[Judgement]:
    """Hold the runs of an experiment, named or declared in a file, against the text of a stored result file.

    Raises RunsDamaged where the metrics of a finished run are not those that were recorded.
    """
    declared, store, experiment_id, runs = read_experiment(experiment)
    demand_recorded_metrics(store, experiment_id, runs.loc[runs["outcome"] == "finished", "run_id"])
    predicted = read_predicted(store, experiment_id, list(runs["run_id"]), everywhere=False)
    return check_against(results, runs, demands, declared.table if declared else VARIANTS, predicted)
