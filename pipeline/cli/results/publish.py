"""`publish`: results as pages of the repository."""

from __future__ import annotations

from pathlib import Path

import click

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--table", default="experiments/mnist14.toml", show_default=True, help="Experiment of the table.")
@click.option("--claims", default="experiments/twins.toml", show_default=True, help="Experiment of the claims.")
@click.option("--output", type=FILE, default=Path("docs/results.md"), show_default=True, help="Write the page there.")
@click.option("--readme", type=FILE, help="Also replace the results between the marks in this file.")
def publish(table: str, claims: str, output: Path, readme: Path | None) -> None:
    """Write what was found as Markdown: the table beside the notebook's numbers, and the claims' verdicts.

    The numbers come from the runs in the store, which may have come as evidence. Nothing is logged.

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
