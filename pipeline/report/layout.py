"""What every figure that compares runs has around its panels: title and legend above, caption below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

CHARACTERS_PER_INCH = 17  # of caption text, at 7 points
LINE_INCHES, TITLE_INCHES, LEGEND_INCHES = 0.14, 0.3, 0.3


def finish_figure(figure: Figure, title: str, caption: str, handles: Sequence[Line2D]) -> Figure:
    """Title and legend above the panels, caption in small type below, on strips that the layout leaves free."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(caption, int(width * CHARACTERS_PER_INCH))
    below, above = LINE_INCHES * len(lines) / height, (TITLE_INCHES + LEGEND_INCHES) / height
    figure.set_layout_engine("constrained", rect=(0, below, 1, 1 - below - above))
    figure.suptitle(title, x=0.01, y=1 - 0.07 / height, ha="left", fontsize=11)
    anchor = (0, 1 - TITLE_INCHES / height)
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=anchor, ncols=len(handles), frameon=False, fontsize=8
    )
    figure.text(0.01, below, "\n".join(lines), va="top", fontsize=7)
    return figure
