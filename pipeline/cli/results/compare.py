"""`compare`: the conclusion table and the verdicts; `report`: all of it on one page; `publish`: as Markdown pages."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import interrupts
from pipeline.cli.options import FILE, add_options, check_experiment, setting_option, take_file
from pipeline.cli.terminal import outliving_reader, showing_life
from pipeline.private import name_file
from pipeline.study.settings import COMPARED, name_option

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.table import Table

    from pipeline.analysis.comparison import Comparison
    from pipeline.analysis.table.conclusion import Conclusion
    from pipeline.workflows.compare import Found

FORMATS = ("text", "csv", "markdown", "latex", "html", "json")
RULES = ("newest", "best", "all-seeds")
SHOWN = ("truth", "published", "controls")
TABLE, CLAIMS = "experiments/mnist14.toml", "experiments/twins.toml"
COLOURS = {
    **{"SUPPORTED": "green", "REFUTED": "red", "NEGLIGIBLE": "cyan"},
    **{"INCONCLUSIVE": "yellow", "UNTESTABLE": "yellow", "DEVIATED": "magenta"},
}


def _only_option(name: str) -> Callable[..., Any]:
    """The option of a setting that runs must share to be compared."""
    only = f"Only runs with this --{name_option(name)}."
    return setting_option(name, default=None, show_default=False, help=only)


@click.command()
@click.argument("experiment", default="")
@click.argument("other_run", default="")
@click.option("--rule", type=click.Choice(RULES), help="Which runs to use; with an experiment file, all seeds.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--output", type=FILE, help="Write to this file, print nothing.")
@click.option("--wide", is_flag=True, help="Print the study's eleven columns and each verdict in full sentences.")
@click.option("--truth", is_flag=True, help="Add what the networks really contain, the honest gap and the time.")
@click.option("--published", is_flag=True, help="Add the notebook's numbers and the differences from them.")
@click.option("--controls", is_flag=True, help="Add the five control rows.")
@click.option("--trace", nargs=2, metavar="ROW COLUMN", help="Print the runs behind one entry of the table.")
@add_options(map(_only_option, COMPARED))
def compare(experiment: str, other_run: str, rule: str | None, form: str, output: Path | None, **options: Any) -> None:
    """Compare the finished runs of EXPERIMENT and judge its claims.

    EXPERIMENT is the name of an MLflow experiment or a file from experiments/ with claims; without it, the
    experiment that MLflow's environment names. Runs whose settings differ from the file's, or from those of the
    newest finished run, are left out and listed. The comparison is logged as a run of its own.

    Given two run ids instead, it counts the test images that one run gets right and the other wrong, tests the
    difference (McNemar) and draws the images; nothing is logged.

    \b
    python -m pipeline compare
    python -m pipeline compare experiments/matched.toml
    python -m pipeline compare --epochs 25 --published --format markdown --output conclusion.md
    python -m pipeline compare --trace conv2_3x3 TEST_LOSS
    python -m pipeline compare RUN_ID RUN_ID --output differing.png
    """
    if other_run:
        compare_two(experiment, other_run, output or Path("differing.png"))
        return
    found = ask(experiment, rule, options)
    if options["trace"]:
        click.echo(say_trace(found.comparison.conclusion, *options["trace"]))
        return
    wide = options["wide"] or options["truth"] or options["published"]  # the two add columns
    with outliving_reader():
        show(found, form, output, wide=wide)
    with showing_life("Drawing and logging"):
        run_id, new = found.record()
    if wide or form != "text" or output:
        click.echo(f"Table sha256 {found.comparison.conclusion.sha256}", err=True)
    click.echo(f"{'Logged' if new else 'Logged before'} as run {run_id}.", err=True)
    words = ["python", "-m", "pipeline", "report", *([experiment] if experiment else [])]
    click.echo(f"Next, every number and figure on one page: {shlex.join(words)}", err=True)


def show(found: Found, form: str, output: Path | None, *, wide: bool) -> None:
    """Print the comparison, in short where it goes to a reader of a terminal, or write it to a file."""
    from pipeline.report.pages.conclusion import say_conclusion
    from pipeline.report.pages.table import render_table

    comparison = found.comparison
    if form == "text" and output is None and not wide:
        print_summary(comparison)
        return
    text = say_conclusion(comparison) if form == "text" else render_table(comparison.conclusion, form, found.link)
    if output is None:
        click.echo(text, nl=False)
        return
    with name_file(output):
        output.write_text(text, encoding="utf-8")
    click.echo(f"{output}: written", err=True)


def print_summary(comparison: Comparison) -> None:
    """Print verdicts first, then variants and notes, never wider than the terminal."""
    from rich.console import Console
    from rich.text import Text

    from pipeline.report.text import summary

    console = Console(highlight=False)
    with console.capture() as printed:  # rich would end the command where a reader has left
        if comparison.verdicts:
            rows = summary.list_verdicts(comparison.verdicts)
            console.print(_build_table(summary.VERDICTS, rows, whole=("verdict", "95 % interval")))
            console.print()
        columns = summary.VARIANTS
        console.print(_build_table(columns, summary.list_variants(comparison), whole=columns[1:], right=True))
        console.print(Text(summary.say_units(comparison)), style="dim")
        for note in summary.list_notes(comparison):
            console.print()
            console.print(Text(note))
    click.echo(printed.get(), nl=False, color=console.is_terminal)


def _build_table(
    names: Sequence[str], rows: Sequence[Sequence[str]], *, whole: Collection[str], right: bool = False
) -> Table:
    """Rows under a header; where the terminal is narrow the columns that need not stay `whole` give way first.

    Numbers may stand right.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, name in enumerate(names):
        side: JustifyMethod = "right" if right and place else "left"
        table.add_column(name, justify=side, overflow="fold", no_wrap=name in whole)
    for row in rows:
        table.add_row(*(Text(cell, style=COLOURS.get(cell.partition(" ")[0], "")) for cell in row))
    return table


def compare_two(first_id: str, second_id: str, output: Path) -> None:
    """Print what two runs got right and wrong on the same test images, and draw the images that differ."""
    from pipeline.workflows.compare import compare_two_runs

    lines, picture = compare_two_runs(first_id, second_id)
    click.echo("\n".join(lines))
    if picture:
        output.write_bytes(picture)
        click.echo(f"{output}: the images that differ")


def ask(experiment: str, rule: str | None, options: Mapping[str, Any]) -> Found:
    """The comparison that the command's options ask for; says where its claims were frozen late."""
    check_experiment(experiment)

    from pipeline.report.text.sentences import STANDINGS
    from pipeline.workflows.compare import find_comparison

    interrupts.follow_launcher()
    asked = {name: options[name] for name in COMPARED if options[name] is not None}
    found = find_comparison(experiment, rule, asked, frozenset(name for name in SHOWN if options[name]))
    if standing := found.comparison.question.standing:
        click.echo(STANDINGS[standing].strip(), err=True)
    return found


def say_trace(conclusion: Conclusion, row: str, column: str) -> str:
    """The runs, the query and the raw number behind one entry."""
    variant, entry = conclusion.trace(row, column)
    lines = [f"{variant} {column} = {entry.value!r}, n = {len(entry.run_ids)}", f"query: {conclusion.query}"]
    return "\n".join([*lines, *(f"run {run_id}" for run_id in entry.run_ids)])


SHARED = [param for param in compare.params if param.name in ("experiment", "rule", *SHOWN, *COMPARED)]
"""What `compare` is asked, `report` is asked in the same words."""


@click.command(params=SHARED)
@click.option("--format", "form", type=click.Choice(("html", "pdf")), default="html", show_default=True)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write to this file instead of report.html or report.pdf.",
)
def report(experiment: str, rule: str | None, form: str, output: Path | None, **options: Any) -> None:
    """Write the comparison of EXPERIMENT as one HTML or PDF file.

    The page needs no network: verdicts, table, figures, seeds, protocol, environment, the command of every run and
    a reproducibility checklist. The HTML is also logged as report.html with the comparison's run. PDF output needs
    an extra package: pip install '.[pdf]'.

    \b
    python -m pipeline report experiments/matched.toml
    python -m pipeline report experiments/matched.toml --format pdf --output matched.pdf
    """
    check_experiment(experiment)

    from pipeline.report.pages.html import load_printer
    from pipeline.workflows.report import write_report

    print_pdf = load_printer() if form == "pdf" else None
    report = write_report(ask(experiment, rule, options), experiment, output or Path(f"report.{form}"), print_pdf)
    size = report.path.stat().st_size / 1e6
    click.echo(f"{report.path}: {size:.1f} MB; report.html logged with run {report.run_id}")


@click.command()
@click.option("--table", default=TABLE, callback=take_file, show_default=True, help="Experiment for the table.")
@click.option("--claims", default=CLAIMS, callback=take_file, show_default=True, help="Experiment for the claims.")
@click.option("--output", type=FILE, default=Path("docs/results.md"), show_default=True, help="Page to write.")
@click.option("--readme", type=FILE, help="Also replace the results between the marks in this file.")
def publish(table: str, claims: str, output: Path, readme: Path | None) -> None:
    """Write the results as Markdown: the table, its picture and the verdicts.

    The table stands beside the notebook's numbers; its picture goes to images/losses.png beside the page. Once claims
    can be judged, their report is written to report.html beside it. All numbers come from runs in the store, which may
    have been imported as evidence. Nothing is logged.

    \b
    python -m pipeline bundle import experiments/results/*.zip
    python -m pipeline publish --readme README.md
    """
    from pipeline.workflows.report import publish_results

    for path in publish_results(table, claims, output, readme):
        click.echo(f"{path}: written")
