"""`compare`: the conclusion table and the verdicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import interrupts
from pipeline.errors import AnalysisError
from pipeline.study.settings import JITS, NORMALIZATIONS, PRECISIONS

if TYPE_CHECKING:
    from pipeline.analysis.comparison import Comparison
    from pipeline.tracking.store import Store

FORMATS = ("text", "csv", "markdown", "latex", "html", "json")
RULES = ("newest", "best", "all-seeds")
SETTINGS = ("epochs", "batch_size", "subset", "normalization", "precision", "jit")
UI = "http://127.0.0.1:5000"

COMPARE_OPTIONS = (
    click.argument("experiment", default=""),
    click.argument("other_run", default=""),
    click.option("--rule", type=click.Choice(RULES), help="Runs of the table; with an experiment file all seeds."),
    click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True),
    click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write there instead of printing."),
    click.option("--truth", is_flag=True, help="Add what the networks really hold, the honest gap, the time."),
    click.option("--published", is_flag=True, help="Add the notebook's numbers and the differences to them."),
    click.option("--controls", is_flag=True, help="Add the five control rows."),
    click.option("--trace", nargs=2, metavar="ROW COLUMN", help="Print the runs behind one entry of the table."),
    click.option("--epochs", type=click.IntRange(1), help="Only runs with so many epochs."),
    click.option("--batch-size", type=click.IntRange(1), help="Only runs with this batch size."),
    click.option("--subset", type=click.IntRange(0), help="Only runs on so many training images; 0 is all."),
    click.option("--normalization", type=click.Choice(NORMALIZATIONS), help="Only runs with this normalisation."),
    click.option("--precision", type=click.Choice(PRECISIONS), help="Only runs that multiply in this precision."),
    click.option("--jit", type=click.Choice(JITS), help="Only runs that XLA compiled, or only others."),
)


def _compare_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument and options of `compare`."""
    for option in reversed(COMPARE_OPTIONS):
        command = option(command)
    return command


@click.command()
@_compare_options
def compare(experiment: str, other_run: str, rule: str | None, form: str, output: Path | None, **options: Any) -> None:
    """Build the conclusion table from the finished runs of EXPERIMENT and judge its claims.

    EXPERIMENT is the name of an MLflow experiment or a file of experiments/ with claims; without it, the experiment
    that MLflow's environment names. Runs with other settings than the newest finished one, or than the file says, are
    listed and left out. The comparison is logged as a run of its own.

    With two run ids instead, the test images that one run gets right and the other wrong are counted, tested (McNemar)
    and drawn; nothing is logged.

    \b
    python -m pipeline compare
    python -m pipeline compare experiments/matched.toml
    python -m pipeline compare --epochs 25 --published --format markdown --output conclusion.md
    python -m pipeline compare --trace conv2_3x3 TEST_LOSS
    python -m pipeline compare RUN_ID RUN_ID --output differing.png
    """
    from pipeline.report.conclusion import say_conclusion
    from pipeline.report.table import render_table

    interrupts.follow_launcher()
    if other_run:
        compare_two(experiment, other_run, output or Path("differing.png"))
        return
    asked = {name: options[name] for name in SETTINGS if options[name] is not None}
    show = frozenset(name for name in ("truth", "published", "controls") if options[name])
    found = find_comparison(experiment, rule, asked, show)
    if options["trace"]:
        click.echo(found.say_trace(*options["trace"]))
        return
    run_id = found.record()
    conclusion = found.comparison.conclusion
    text = say_conclusion(found.comparison) if form == "text" else render_table(conclusion, form, found.link)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
    click.echo(f"logged as run {run_id}; table sha256 {conclusion.sha256}", err=True)


def compare_two(first_id: str, second_id: str, output: Path) -> None:
    """Print what two runs got right and wrong on the same test images, and draw the images that differ."""
    from pipeline.analysis.images import compare_images
    from pipeline.data.named import load_data
    from pipeline.report.differing import plot_differing, say_differing
    from pipeline.report.render import render_png
    from pipeline.tracking.predicted import read_run
    from pipeline.tracking.registry import find_run
    from pipeline.tracking.store import open_store

    store = open_store()
    runs = [find_run(store, run_id) for run_id in (first_id, second_id)]
    if runs[0].facts.get("data-sha256") != runs[1].facts.get("data-sha256"):
        raise AnalysisError("the two runs were tested on other images; compare runs of the same data and subset")
    first, second = (read_run(store, run.run_id) for run in runs)
    names = tuple(f"{run.variant} seed {run.seed}" for run in runs)
    found = compare_images(first, second)
    click.echo("\n".join(say_differing(found, names)))
    if not len(found.first_only) + len(found.second_only):
        return
    facts = runs[0].facts
    data = load_data(facts["data"], subset=int(facts["subset"]), normalization=facts["normalization"])
    output.write_bytes(render_png(plot_differing(found, names, (first, second), data.raw.x_test)))
    click.echo(f"{output}: the images that differ")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A comparison with the place it came from."""

    store: Store
    experiment_id: str
    comparison: Comparison

    @property
    def link(self) -> str:
        """Pattern of a run's address: on the store's server, else where plain `mlflow ui` shows it."""
        server = self.store.uri if self.store.uri.startswith("http") else UI
        return f"{server}/#/experiments/{self.experiment_id}/runs/{{run_id}}"

    def record(self) -> str:
        """Log the comparison; the id of its run."""
        from pipeline.tracking.comparison import record_comparison
        from pipeline.tracking.recorder import open_run

        _ = self.comparison.verdicts  # what cannot be judged is told before there is a run
        with open_run(self.store, "compare", "compare", self.experiment_id) as recorder:
            experiment = self.store.client.get_experiment(self.experiment_id)
            record_comparison(recorder, self.comparison, experiment, self.link)
        return recorder.run_id

    def say_trace(self, row: str, column: str) -> str:
        """The runs, the query and the raw number behind one entry."""
        trace = self.comparison.conclusion.trace(row, column)
        lines = [f"{trace.variant} {trace.column} = {trace.entry.value!r}, n = {trace.n}", f"query: {trace.query}"]
        return "\n".join([*lines, *(f"run {run_id}" for run_id in trace.entry.run_ids)])


def find_comparison(experiment: str, rule: str | None, asked: dict[str, int | str], show: frozenset[str]) -> Found:
    """Compare the runs of an experiment, named or declared in a file."""
    from pipeline.analysis.comparison import Question, ask_experiment, compare_runs
    from pipeline.analysis.sentences import STANDINGS
    from pipeline.study.experiment import open_experiment
    from pipeline.tracking.freeze import judge_freezing, read_frozen
    from pipeline.tracking.predicted import read_predicted
    from pipeline.tracking.query import read_history, read_runs
    from pipeline.tracking.store import find_experiment, open_store

    declared = open_experiment(experiment)
    store = open_store()
    name = declared.name if declared else experiment
    experiment_id = find_experiment(store, name)
    runs = read_runs(store, experiment_id)
    question = Question(rule=rule or ("all-seeds" if declared else "newest"), asked=asked, show=show)
    if declared:
        frozen, frozen_at = read_frozen(store, experiment_id)
        question = ask_experiment(declared, question, frozen, judge_freezing(frozen_at, runs["started"]))
        if question.standing:
            click.echo(STANDINGS[question.standing].strip(), err=True)
    comparison = compare_runs(
        runs,
        lambda run_ids: read_history(store, run_ids),
        question,
        lambda run_ids, needed: read_predicted(store, experiment_id, run_ids, needed),
    )
    return Found(store=store, experiment_id=experiment_id, comparison=comparison)
