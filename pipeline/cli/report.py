"""`report`: verdicts, table, figures and evidence in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import interrupts
from pipeline.cli.compare import SETTINGS, Found, compare, find_comparison

if TYPE_CHECKING:
    from pipeline.report.provenance import Sources

SHOWN = ("truth", "published", "controls")
SHARED = [param for param in compare.params if param.name in ("experiment", "rule", *SHOWN, *SETTINGS)]
"""What `compare` is asked, `report` is asked in the same words."""
ACCURACIES = ("train/accuracy", "test/accuracy")


@click.command(params=SHARED)
@click.option("--format", "form", type=click.Choice(("html", "pdf")), default="html", show_default=True)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write there instead of to report.html or report.pdf.",
)
def report(experiment: str, rule: str | None, form: str, output: Path | None, **options: Any) -> None:
    """Write the comparison of EXPERIMENT, as `compare` makes it, as one file that needs no network.

    Verdicts, table, figures, seeds, protocol, environment, the command of every run and a reproducibility checklist.
    The HTML is logged as report.html with the comparison's run. PDF needs the extra pdf.

    \b
    python -m pipeline report experiments/matched.toml
    python -m pipeline report experiments/matched.toml --format pdf --output matched.pdf
    """
    from datetime import UTC, datetime

    from pipeline.report.html import render_report
    from pipeline.report.pdf import load_printer
    from pipeline.tracking.provenance import record_report
    from pipeline.tracking.runs import read_history

    interrupts.follow_launcher()
    print_pdf = load_printer() if form == "pdf" else None
    asked = {name: options[name] for name in SETTINGS if options[name] is not None}
    found = find_comparison(experiment, rule, asked, frozenset(name for name in SHOWN if options[name]))
    run_ids = list(found.comparison.runs["run_id"])
    accuracies = read_history(found.store, run_ids, ACCURACIES)
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    page = render_report(found.comparison, accuracies, read_sources(found, experiment), written)
    path = output or Path(f"report.{form}")
    path.write_bytes(print_pdf(page) if print_pdf else page.encode())
    run_id = found.record()
    record_report(found.store, run_id, page)
    click.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB; report.html logged with run {run_id}")


def read_sources(found: Found, experiment: str) -> Sources:
    """Where the runs of the comparison come from; the lowest seed of each variant with its violins."""
    from pipeline.report.provenance import Sources
    from pipeline.study.experiment import open_experiment
    from pipeline.tracking.frozen import FROZEN_AT
    from pipeline.tracking.provenance import read_provenance

    runs = found.comparison.runs
    pictured = set(runs.sort_values("seed").drop_duplicates("variant")["run_id"])
    declared = open_experiment(experiment)
    entity = found.store.client.get_experiment(found.experiment_id)
    return Sources(
        experiment=entity.name,
        runs=read_provenance(found.store, found.experiment_id, runs, pictured),
        again=experiment or entity.name,
        description=declared.description if declared else "",
        frozen_at=entity.tags.get(FROZEN_AT, ""),
        link=found.link if found.store.uri.startswith("http") else "",
    )
