"""Find values in a store that nobody can understand."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.study.tags import KIND
from pipeline.sweep.finding import Finding
from pipeline.tracking.frozen import FROZEN
from pipeline.tracking.quick import NEVER
from pipeline.tracking.values import RESULTS, TAGS, find_bad, read_texts
from pipeline.tracking.write.survey import Survey


def find_unreadable(survey: Survey) -> Iterator[Finding]:
    """Values that nobody can understand; those that shape a result leave its run out of every table."""
    for run in survey.runs:
        subject = f"run {run.run_id}"
        bad = find_bad({**run.params, **run.metrics}, RESULTS) if run.is_training else []
        bad += ["it has no start"] if run.started == NEVER else []
        if bad:
            remedy = f"left out of every table; `mlflow runs delete --run-id {run.run_id}`, and train it again"
            yield Finding(subject=subject, problem=", ".join(bad), remedy=remedy)
        if KIND in run.tags and (odd := find_bad(run.tags, TAGS)):
            yield Finding(subject=subject, problem=", ".join(odd), remedy="it counts as not there")
    for experiment in survey.experiments:
        if FROZEN in experiment.tags and read_texts(experiment.tags[FROZEN]) is None:
            yield Finding(
                subject=f"experiment {experiment.name}",
                problem=f"its tag {FROZEN} is not what was frozen",
                remedy="every claim counts as changed (DEVIATED); put the tag back if you have it",
            )
