"""`variants`: the study's table."""

from __future__ import annotations

import click

from pipeline.cli.options import VARIANTS_OPTION


@click.command()
@VARIANTS_OPTION
def variants(variants: str) -> None:
    """List the 14 published variants and the 5 controls.

    With --variants, the file's own variants follow.

    \b
    python -m pipeline variants
    python -m pipeline variants --variants my.toml
    """
    from pipeline.report.pages.listing import list_variants
    from pipeline.study.experiment import load_variants
    from pipeline.study.variants import VARIANTS

    click.echo(list_variants(tuple((load_variants(variants) if variants else VARIANTS).values())))
