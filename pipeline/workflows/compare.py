"""Runs from the store compared: those of an experiment with verdicts, logged as a run of its own; with a stored result;
two of them image by image.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.analysis.claims.images import compare_images
from pipeline.analysis.comparison import Comparison, Question, ask_experiment
from pipeline.analysis.gate.check import check_against
from pipeline.analysis.gate.metrics import Demands, Judgement
from pipeline.data.datasets import load_data
from pipeline.errors import AnalysisError
from pipeline.plain import escape_controls
from pipeline.report.pages.conclusion import (
    describe_onsets,
    describe_verdict,
    say_remarks,
    shorten_note,
    write_conclusion,
)
from pipeline.report.pages.table import render_table, tabulate, write_caption
from pipeline.study import metrics
from pipeline.study.experiment import Experiment, open_experiment
from pipeline.study.facts import restore_settings
from pipeline.study.settings import COMPARED
from pipeline.study.tags import KIND, NOTE, OUTCOME, PARAM_DATA_SHA256, TABLE_SHA256
from pipeline.study.variants import VARIANTS
from pipeline.tracking.files.hashes import demand_recorded_metrics
from pipeline.tracking.files.predicted import read_predicted, read_run
from pipeline.tracking.files.registry import find_finished
from pipeline.tracking.frozen import judge_freezing, read_frozen
from pipeline.tracking.runs import read_runs
from pipeline.tracking.store import Store, find_experiment, open_store, store_errors
from pipeline.tracking.ui import PAGE, save_view
from pipeline.tracking.write.recorder import Recorder, open_run
from pipeline.workflows.foresee import compare_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UI = "http://127.0.0.1:5000"
TABLES = {"csv": "csv", "md": "markdown", "tex": "latex", "html": "html", "json": "json"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """A comparison with the place it came from, when its claims were frozen (ISO 8601, "" if never), what it is for."""

    store: Store
    experiment_id: str
    comparison: Comparison
    frozen_at: str = ""
    description: str = ""

    @property
    def link(self) -> str:
        """Pattern of a run's address: on the store's server, else where plain `mlflow ui` shows it."""
        server = self.store.uri if self.store.uri.startswith("http") else UI
        return f"{server}/#/experiments/{self.experiment_id}/runs/{{run_id}}?{PAGE}"

    @cached_property
    def text(self) -> str:
        """The conclusion as Markdown."""
        name = self.store.client.get_experiment(self.experiment_id).name
        return write_conclusion(self.comparison, name, self.description)

    def record(self) -> tuple[str, bool]:
        """Log the comparison, unless the same one is there and `mlflow run` wants no run of its own.

        (the id of its run, whether it is new)
        """
        sha256 = self.comparison.conclusion.sha256
        tags = {TABLE_SHA256: sha256, NOTE: shorten_note(self.text)}
        wanted = f"tags.{KIND} = 'compare' AND tags.{OUTCOME} = 'finished' AND tags.`{TABLE_SHA256}` = '{sha256}'"
        with store_errors(self.store):
            same = self.store.client.search_runs([self.experiment_id], wanted)
        for run in same if "MLFLOW_RUN_ID" not in os.environ else ():
            if run.data.tags.get(NOTE) == tags[NOTE]:
                self.store.client.set_experiment_tag(self.experiment_id, NOTE, tags[NOTE])
                return run.info.run_id, False
        with open_run(self.store, "compare", "compare", self.experiment_id) as recorder:
            record_comparison(recorder, self, tags)
        return recorder.run_id, True


def find_comparison(
    experiment: str,
    rule: str | None = None,
    asked: Mapping[str, int | str] | None = None,
    show: frozenset[str] = frozenset(),
) -> Found:
    """Compare the runs of an experiment, named or declared in a file; see analysis.comparison.Question.

    Raises RunsDamaged where the metrics of one of them are not those that were recorded.
    """
    for name in asked or {}:
        if name not in COMPARED:
            raise AnalysisError(f'runs are not chosen by "{name}"; choose one of {", ".join(COMPARED)}')
    declared, store, experiment_id, runs = read_experiment(experiment)
    question = Question(rule=rule or ("all-seeds" if declared else "newest"), asked=asked or {}, show=show)
    frozen, frozen_at = read_frozen(store, experiment_id)
    if declared:
        question = ask_experiment(declared, question, frozen, judge_freezing(frozen_at, runs))
    comparison = compare_in(store, experiment_id, runs, question)
    demand_recorded_metrics(store, experiment_id, comparison.runs["run_id"])
    return Found(
        store=store,
        experiment_id=experiment_id,
        comparison=comparison,
        frozen_at=escape_controls(frozen_at),
        description=declared.description if declared else "",
    )


def read_experiment(experiment: str) -> tuple[Experiment | None, Store, str, pd.DataFrame]:
    """What a file declares (None for the name of an MLflow experiment), the store, the experiment's id and runs."""
    declared = open_experiment(experiment)
    store = open_store()
    experiment_id = find_experiment(store, declared.name if declared else experiment)
    return declared, store, experiment_id, read_runs(store, experiment_id)


def record_comparison(recorder: Recorder, found: Found, tags: Mapping[str, str]) -> None:
    """Log the table in every format, verdicts, figures and the conclusion, also as the run's and experiment's note.

    `tags` are the hash of the table and the note.
    """
    from pipeline.report.figures.render import render_png

    client, run_id, comparison = recorder.client, recorder.run_id, found.comparison
    conclusion = comparison.conclusion
    for ending, form in TABLES.items():
        client.log_text(run_id, render_table(conclusion, form, found.link), f"conclusion_table.{ending}")
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
    recorder.log_files("figures", ((f"{name}.png", render_png(drawn)) for name, drawn in draw_comparison(comparison)))
    client.log_text(run_id, found.text, "conclusion.md")
    recorder.log({}, {**{f"verdict.{verdict.name}": verdict.word for verdict in comparison.verdicts}, **tags})
    client.set_experiment_tag(found.experiment_id, NOTE, tags[NOTE])
    save_view(client, client.get_experiment(found.experiment_id))


def draw_comparison(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of every figure that the runs can fill."""
    # a terminal shows the table before matplotlib is imported
    from pipeline.report.figures.comparison import plot_accuracy, plot_gap, plot_loss_curves, plot_seeds
    from pipeline.report.figures.verdicts import plot_onset, plot_specifications

    runs, history, caption = comparison.runs, comparison.history, write_caption(comparison.conclusion)
    if any(each.choices for each in comparison.specifications):
        yield "specifications", plot_specifications(comparison.specifications, caption=caption)
    yield "losses_notebook", plot_loss_curves(history, runs, source="notebook", caption=caption)
    yield "losses_honest", plot_loss_curves(history, runs, source="honest", caption=caption)
    yield "gap", plot_gap(runs, caption=caption)
    yield "accuracy", plot_accuracy(runs, caption=caption)
    yield "seeds_test_loss", plot_seeds(runs, metrics.HONEST_TEST_LOSS.final, caption=caption)
    yield "seeds_test_accuracy", plot_seeds(runs, metrics.TEST_ACCURACY.final, caption=caption)
    if not comparison.onsets.empty:
        yield "onset", plot_onset(comparison.onsets, comparison.claimed_onset, caption=caption)


def gate_experiment(experiment: str, results: str, demands: Demands) -> list[Judgement]:
    """Hold the runs of an experiment, named or declared in a file, against the text of a stored result file.

    Raises RunsDamaged where the metrics of a finished run are not those that were recorded.
    """
    declared, store, experiment_id, runs = read_experiment(experiment)
    demand_recorded_metrics(store, experiment_id, runs.loc[runs["outcome"] == "finished", "run_id"])
    predicted = read_predicted(store, experiment_id, list(runs["run_id"]), everywhere=False)
    return check_against(results, runs, demands, declared.table if declared else VARIANTS, predicted)


def compare_two_runs(first_id: str, second_id: str) -> tuple[Sequence[str], bytes]:
    """Count and test which of the same test images one run got right and the other wrong.

    (what is to be said of it, a PNG file of the images in which they differ, empty where there is none). Raises
    AnalysisError for other test images.
    """
    from pipeline.report.figures.render import render_png
    from pipeline.report.figures.runs import plot_differing
    from pipeline.report.text.lessons import say_differing

    store = open_store()
    runs = [find_finished(store, run_id) for run_id in (first_id, second_id)]
    if runs[0].facts.get(PARAM_DATA_SHA256) != runs[1].facts.get(PARAM_DATA_SHA256):
        raise AnalysisError("the two runs were tested on other images; compare runs of the same data and subset")
    first, second = (read_run(store, run.run_id) for run in runs)
    names = tuple(f"{run.variant} seed {run.seed}" for run in runs)
    found = compare_images(first, second)
    lines = say_differing(found, names)
    if not len(found.first_only) + len(found.second_only):
        return lines, b""
    settings = restore_settings(runs[0].facts)
    data = load_data(settings.data, subset=settings.subset, normalization=settings.normalization)
    drawn = plot_differing(found, names, (first, second), data.raw.x_test, data.images.classes)
    return lines, render_png(drawn)
