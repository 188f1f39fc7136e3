"""`variants`: the study's table."""

from __future__ import annotations

import click


@click.command()
def variants() -> None:
    """Print the 14 published variants and the 5 controls.

    \b
    python -m pipeline variants
    """
    from pipeline.report.listing import list_variants

    click.echo(list_variants())
