"""Log a comparison to MLflow as a run of its own, and its conclusion as the experiment's note."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from matplotlib.figure import Figure
from mlflow.entities import Experiment as ExperimentEntity

from pipeline.analysis.comparison import Comparison
from pipeline.report.comparison import plot_accuracy, plot_gap, plot_loss_curves, plot_onset, plot_seeds
from pipeline.report.conclusion import describe_onsets, describe_verdict, say_remarks, shorten_note, write_conclusion
from pipeline.report.curves import plot_specifications
from pipeline.report.table import render_table, tabulate, write_caption
from pipeline.tracking.recorder import Recorder
from pipeline.tracking.view import save_view

TABLES = {"csv": "csv", "md": "markdown", "tex": "latex", "html": "html", "json": "json"}


def record_comparison(recorder: Recorder, comparison: Comparison, experiment: ExperimentEntity, link: str) -> None:
    """Log the table in every format, verdicts, figures and the conclusion, also as the run's and experiment's note."""
    client, run_id, conclusion = recorder.client, recorder.run_id, comparison.conclusion
    for ending, form in TABLES.items():
        client.log_text(run_id, render_table(conclusion, form, link), f"conclusion_table.{ending}")
    client.log_table(run_id, tabulate(conclusion).reset_index(names="variant"), "conclusion.json")
    if comparison.verdicts:
        verdicts = [describe_verdict(verdict) for verdict in comparison.verdicts]
        client.log_dict(run_id, {"verdicts": verdicts, "remarks": say_remarks(comparison)}, "verdicts.json")
        grids = [
            {"claim": each.verdict.name, "choices": list(map(asdict, each.choices))}
            for each in comparison.specifications
        ]
        client.log_dict(run_id, {"specifications": grids}, "specifications.json")
    if comparison.pairs is not None:
        client.log_text(run_id, comparison.pairs.to_csv(index=False), "pairs.csv")
    if not comparison.onsets.empty:
        client.log_text(run_id, describe_onsets(comparison).to_csv(index=False), "onsets.csv")
    recorder.log_figures(draw_comparison(comparison))
    text = write_conclusion(comparison, f"Conclusion of {experiment.name}")
    client.log_text(run_id, text, "conclusion.md")
    tags = {f"verdict.{verdict.name}": verdict.word for verdict in comparison.verdicts}
    recorder.log({}, {**tags, "table.sha256": conclusion.sha256, "mlflow.note.content": shorten_note(text)})
    client.set_experiment_tag(experiment.experiment_id, "mlflow.note.content", shorten_note(text))
    save_view(client, experiment)


def draw_comparison(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of every figure that the runs can fill."""
    runs, history, caption = comparison.runs, comparison.history, write_caption(comparison.conclusion)
    if any(each.choices for each in comparison.specifications):
        yield "specifications", plot_specifications(comparison.specifications, caption=caption)
    yield "losses_notebook", plot_loss_curves(history, runs, source="notebook", caption=caption)
    yield "losses_honest", plot_loss_curves(history, runs, source="honest", caption=caption)
    yield "gap", plot_gap(runs, caption=caption)
    yield "accuracy", plot_accuracy(runs, caption=caption)
    yield "seeds_test_loss", plot_seeds(runs, "final/honest_test_loss", caption=caption)
    yield "seeds_test_accuracy", plot_seeds(runs, "final/test_accuracy", caption=caption)
    if not comparison.onsets.empty:
        yield "onset", plot_onset(comparison.onsets, runs, caption=caption)
