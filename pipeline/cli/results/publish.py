"""`publish`: results as pages of the repository."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.early import take_file

TABLE, CLAIMS = "experiments/mnist14.toml", "experiments/twins.toml"
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--table", default=TABLE, callback=take_file, show_default=True, help="Experiment for the table.")
@click.option("--claims", default=CLAIMS, callback=take_file, show_default=True, help="Experiment for the claims.")
@click.option("--output", type=FILE, default=Path("docs/results.md"), show_default=True, help="Page to write.")
@click.option("--readme", type=FILE, help="Also replace the results between the marks in this file.")
def publish(table: str, claims: str, output: Path, readme: Path | None) -> None:
    """Write the results as Markdown: the table and the verdicts.

    The table stands beside the notebook's numbers. All numbers come from runs in the store, which may have been
    imported as evidence. Nothing is logged.

    \b
    python -m pipeline bundle import experiments/results/*.zip
    python -m pipeline publish --readme README.md
    """
    from pipeline.workflows.publish import replace_block, write_pages

    pages = write_pages(table, claims)
    output.write_text(pages.results, encoding="utf-8")
    click.echo(f"{output}: written")
    if readme:
        replace_block(readme, pages.summary)
        click.echo(f"{readme}: results replaced")
