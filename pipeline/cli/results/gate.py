"""`gate`: whether the runs still agree with a stored result."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import FILE, experiment_argument
from pipeline.errors import AnalysisError
from pipeline.private import check_regular


def _parse_tolerances(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> dict[str, float]:
    """Metric -> half-width, from METRIC=VALUE; refuses another form, a value that is not positive, a metric twice."""
    tolerances: dict[str, float] = {}
    for text in texts:
        metric, _, value = text.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not metric or not 0 < number < math.inf:
            raise click.BadParameter(f'"{text}" is not a tolerance; write one as final/test_loss=0.01')
        if metric in tolerances:
            raise click.BadParameter(f'"{metric}" has two tolerances; leave one out')
        tolerances[metric] = number
    return tolerances


@click.command()
@experiment_argument(default="")
@click.option("--against", type=FILE, required=True, help="A result file written by `compare --format json`.")
@click.option("--confidence", type=click.FloatRange(0.5, 1, max_open=True), default=0.95, show_default=True)
@click.option(
    "--tolerance",
    "tolerances",
    metavar="METRIC=VALUE",
    multiple=True,
    callback=_parse_tolerances,
    help="If too few seeds are stored: how far a metric may be from their mean. Repeatable.",
)
@click.option("--allow-missing", is_flag=True, help="Do not fail for variants without a new run, or unfinished runs.")
@click.option("--junit", type=FILE, help="Write the results as JUnit XML for a CI system.")
@click.option("--summary", type=FILE, help="Write the results as Markdown.")
def gate(experiment: str, against: Path, junit: Path | None, summary: Path | None, **options: Any) -> None:
    """Check the runs of EXPERIMENT against a stored result, for CI.

    EXPERIMENT is the name of an MLflow experiment or its file; a study with its own variants needs the file. Runs
    with the same seed, threads and fingerprint (settings, data, code, versions) must have the same weights, bit for
    bit. Any other run must fall within bounds from the spread of the stored seeds, pooled over variants, and so
    must the mean shift of all new runs; each says the smallest shift it can see, and bounds that are too wide judge
    nothing. A stored variant without a finished new run, and a new run that did not finish, fail too. Exit code 1
    if anything fails.

    Only what failed is printed; --summary writes everything.

    \b
    python -m pipeline gate --against experiments/results/pairs.json pairs
    python -m pipeline gate --against one-seed.json --tolerance final/test_loss=0.01 --allow-missing
    python -m pipeline gate --against result.json --junit gate.xml --summary gate.md
    """
    try:
        check_regular(against)
        stored = against.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise AnalysisError(f"{against}: not a usable result file (no text); give one of compare") from error

    from pipeline.analysis.table.conclusion import load_conclusion

    load_conclusion(stored)  # refused before MLflow is imported

    from pipeline.analysis.gate.check import gate_passed
    from pipeline.analysis.gate.metrics import Demands
    from pipeline.report.text.gate import name_cell, render_junit, render_summary, say_gate
    from pipeline.workflows.compare import gate_experiment

    judgements = gate_experiment(experiment, stored, Demands(**options))
    if junit:
        junit.write_text(render_junit(judgements), encoding="utf-8")
    if summary:
        summary.write_text(render_summary(judgements), encoding="utf-8")
    click.echo(say_gate(judgements), nl=False)
    if not gate_passed(judgements):
        failed = [name_cell(judgement) for judgement in judgements if judgement.result == "fail"]
        reason = f"failed for {', '.join(dict.fromkeys(failed))}" if failed else "judged nothing"
        raise AnalysisError(f"the gate {reason}; see above")
