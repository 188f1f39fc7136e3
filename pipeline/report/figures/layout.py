"""What every figure that compares runs has around its panels: title and legend above, caption below.

Each of the three is a subfigure, and matplotlib's constrained layout finds the place for labels within it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

CHARACTERS_PER_INCH = 17  # of caption text, at 7 points
LABEL_CHARACTERS_PER_INCH = 13  # of the label beside the panels, at 9 points
LINE_INCHES, HEAD_INCHES, MARGIN_INCHES = 0.14, 0.5, 0.08
NARROWEST = 6  # inches


def open_figure(width: float, height: float, caption: str) -> tuple[Figure, SubFigure]:
    """A figure of this size in inches with its caption in small type below, and the place for its panels."""
    lines = textwrap.wrap(caption, int(width * CHARACTERS_PER_INCH))
    below = LINE_INCHES * len(lines) + MARGIN_INCHES
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, hspace=0.03, wspace=0.02)
    figure = Figure(figsize=(width, height), layout=layout)
    parts: Any = figure.subfigures(3, 1, height_ratios=[HEAD_INCHES, height - HEAD_INCHES - below, below])
    parts[2].text(0.01, 1, "\n".join(lines), va="top", fontsize=7)
    return figure, parts[1]


def open_panels(
    count: int, columns: int, panel_width: float, label: str, caption: str
) -> tuple[Figure, npt.NDArray[Any]]:
    """A figure with so many panels by epoch, at most `columns` beside each other, in even rows, on shared axes.

    The label says what all of them show; it stands beside them, in lines as long as they are high.
    """
    rows = -(-count // columns)
    columns = -(-count // rows)  # six are two rows of three, not four and two
    figure, body = open_figure(max(panel_width * columns + 0.7, NARROWEST), 2 * rows + 1.5, caption)
    panels = body.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[count:]:
        axes.remove()
    panels.flat[0].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, steps=[1, 2, 5, 10]))
    for place, axes in enumerate(panels.flat[:count]):
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        if place + columns >= count:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("epoch", fontsize=9)
    characters = int(body.bbox.height / body.dpi * LABEL_CHARACTERS_PER_INCH)
    body.supylabel(textwrap.fill(label, characters), fontsize=9)
    return figure, panels.flat[:count]


def finish_figure(figure: Figure, title: str, handles: Sequence[Line2D]) -> Figure:
    """Title and legend above the panels; everything at its final place."""
    head = figure.subfigs[0]
    head.suptitle(title, x=0.01, ha="left", fontsize=11)
    head.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.005, 0), ncols=len(handles), frameon=False, fontsize=8
    )
    return settle_figure(figure)


def settle_figure(figure: Figure) -> Figure:
    """Lay the figure out for good; without the last digits of places, in which the solver differs at times."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        part.bbox_relative.set_points(part.bbox_relative.get_points().round(4))
    for axes in figure.axes:
        left, bottom, width, height = axes.get_position().bounds
        axes.set_position((round(left, 4), round(bottom, 4), round(width, 4), round(height, 4)))
    for text in (text for part in figure.subfigs[1:2] for text in part.texts):
        across, up = text.get_position()
        text.set_position((round(across, 4), round(up, 4)))
    return figure


def use_log_scale(axes: Axes) -> None:
    """A logarithmic scale with few ticks; panels that share their axes with this one follow."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())  # ticks cost more to draw than the lines
