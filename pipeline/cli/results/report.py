"""`report`: verdicts, table, figures and evidence in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.cli.early import check_experiment
from pipeline.cli.results.compare import SHOWN, ask, compare
from pipeline.study.settings import COMPARED

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
