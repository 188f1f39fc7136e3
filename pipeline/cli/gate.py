"""`gate`: whether the runs still agree with a stored result."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.errors import AnalysisError

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("experiment", default="")
@click.option("--against", type=FILE, required=True, help="A result file, as `compare --format json` writes it.")
@click.option("--confidence", type=click.FloatRange(0.5, 1, max_open=True), default=0.95, show_default=True)
@click.option("--junit", type=FILE, help="Write the outcomes as JUnit XML, for a CI system.")
@click.option("--summary", type=FILE, help="Write the outcomes as Markdown.")
def gate(experiment: str, against: Path, confidence: float, junit: Path | None, summary: Path | None) -> None:
    """Judge the runs of EXPERIMENT against a stored result; exit code 1 if one fails.

    The same seed and threads must give the same weights, bit for bit; a new seed must fall into the prediction interval
    of the stored seeds.

    \b
    python -m pipeline gate --against experiments/results/pairs.json pairs
    python -m pipeline gate --against result.json --junit gate.xml --summary gate.md
    """
    from pipeline.analysis.gate import check_against, gate_passed
    from pipeline.report.gate import render_junit, render_summary
    from pipeline.tracking.query import read_runs
    from pipeline.tracking.store import find_experiment, open_store

    stored = against.read_text(encoding="utf-8")
    store = open_store()
    outcomes = check_against(stored, read_runs(store, find_experiment(store, experiment)), confidence=confidence)
    if junit:
        junit.write_text(render_junit(outcomes), encoding="utf-8")
    if summary:
        summary.write_text(render_summary(outcomes), encoding="utf-8")
    click.echo(render_summary(outcomes), nl=False)
    if not gate_passed(outcomes):
        failed = [f"{outcome.variant} seed {outcome.seed}" for outcome in outcomes if outcome.verdict == "fail"]
        reason = f"failed for {', '.join(dict.fromkeys(failed))}" if failed else "judged nothing"
        raise AnalysisError(f"the gate {reason}; see the outcomes above")
