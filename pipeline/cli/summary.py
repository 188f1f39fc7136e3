"""A comparison as a terminal shows it: verdicts first, then the variants, never wider than the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from pipeline.analysis.comparison import Comparison

COLOURS = {
    **{"SUPPORTED": "green", "REFUTED": "red", "NEGLIGIBLE": "cyan"},
    **{"INCONCLUSIVE": "yellow", "UNTESTABLE": "yellow", "DEVIATED": "magenta"},
}


def print_summary(comparison: Comparison) -> None:
    """Print verdicts, variants and notes."""
    from pipeline.report.text import summary

    console = Console(highlight=False)
    if comparison.verdicts:
        console.print(_build_table(summary.VERDICTS, summary.list_verdicts(comparison.verdicts)))
        console.print()
    console.print(_build_table(summary.VARIANTS, summary.list_variants(comparison), right=True))
    console.print(Text(summary.say_units(comparison)), style="dim")
    for note in summary.list_notes(comparison):
        console.print()
        console.print(Text(note))


def _build_table(names: Sequence[str], rows: Sequence[Sequence[str]], *, right: bool = False) -> Table:
    """Rows under a header, each folded within its column where it is too long; numbers may stand right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, name in enumerate(names):
        table.add_column(name, justify="right" if right and place else "left", overflow="fold", no_wrap=place > 0)
    for row in rows:
        table.add_row(*(Text(cell, style=COLOURS.get(cell.partition(" ")[0], "")) for cell in row))
    return table
