"""What every figure that compares runs has around its panels: title and legend above, caption below; shared axes.

The place for labels is measured once; a layout engine of matplotlib measures every panel four times for one picture.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

CHARACTERS_PER_INCH = 17  # of caption text, at 7 points
LABEL_CHARACTERS_PER_INCH = 13  # of the label beside the panels, at 9 points
LINE_INCHES, TITLE_INCHES, LEGEND_INCHES = 0.14, 0.3, 0.3
PANEL_TITLE_INCHES, SIDE_LABEL_INCHES, EDGE_INCHES = 0.28, 0.2, 0.08
BESIDE_INCHES, UNDER_INCHES = 0.12, 0.3
"""Between panels."""


def finish_figure(figure: Figure, title: str, caption: str, handles: Sequence[Line2D]) -> Figure:
    """Title and legend above the panels, caption in small type below, and just the place that the labels need."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(caption, int(width * CHARACTERS_PER_INCH))
    below = LINE_INCHES * len(lines) + EDGE_INCHES
    figure.suptitle(title, x=0.01, y=1 - 0.07 / height, ha="left", fontsize=11)
    anchor = (0, 1 - TITLE_INCHES / height)
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=anchor, ncols=len(handles), frameon=False, fontsize=8
    )
    figure.text(0.01, (below - EDGE_INCHES / 2) / height, "\n".join(lines), va="top", fontsize=7)
    _place_panels(figure, below)
    return figure


def share_log_axes(panels: npt.NDArray[Any], used: int) -> None:
    """Log scale and grid on every panel, epochs under the last of each column; spare panels are taken away."""
    for axes in panels.flat[used:]:
        axes.remove()
    first = panels.flat[0]  # the others share its scales and its ticks
    first.set_yscale("log")
    first.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    first.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    first.yaxis.set_minor_locator(NullLocator())  # ticks cost more to draw than the lines
    first.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, steps=[1, 2, 5, 10]))
    for place, axes in enumerate(panels.flat[:used]):
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        if place + panels.shape[1] >= used:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("epoch", fontsize=9)


def _place_panels(figure: Figure, below: float) -> None:
    """Spread the panels over what title, caption (`below`, inches) and the labels at the edges leave free."""
    width, height = figure.get_size_inches()
    named = any(axes.get_title() or axes.get_title("left") for axes in figure.axes)
    above = TITLE_INCHES + LEGEND_INCHES + (PANEL_TITLE_INCHES if named else 0)
    label = textwrap.wrap(figure.get_supylabel(), max(int((height - below - above) * LABEL_CHARACTERS_PER_INCH), 1))
    side = SIDE_LABEL_INCHES * len(label)
    # first about where they will be: how many ticks an axis has depends on its length
    figure.subplots_adjust((side + 0.6) / width, (below + 0.5) / height, 1 - EDGE_INCHES / width, 1 - above / height)
    left, bottom, right = _measure_labels(figure)
    inner = width - side - left - right - 2 * EDGE_INCHES, height - below - bottom - above
    specification = figure.axes[0].get_subplotspec()
    rows, columns = specification.get_gridspec().get_geometry() if specification else (1, 1)
    figure.subplots_adjust(
        left=(side + left + EDGE_INCHES) / width,
        bottom=(below + bottom) / height,
        right=1 - (right + EDGE_INCHES) / width,
        top=1 - above / height,
        wspace=_share_gap(inner[0], columns, BESIDE_INCHES),
        hspace=_share_gap(inner[1], rows, UNDER_INCHES),
    )
    if label:  # as high as the panels are, so that it meets neither their numbers nor the legend
        middle = (below + bottom + inner[1] / 2) / height
        figure.supylabel("\n".join(label), x=EDGE_INCHES / 2 / width, y=middle, fontsize=9)


def _measure_labels(figure: Figure) -> tuple[float, float, float]:
    """Inches that labels need to the left of, below and to the right of the panels.

    Panels that share an axis have the same numbers, so the first one and the last one stand for all.
    """
    canvas: Any = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    first, last = figure.axes[0], figure.axes[-1]
    sides, feet = first.yaxis.get_tightbbox(renderer), last.xaxis.get_tightbbox(renderer)
    left = first.bbox.x0 - sides.x0 if sides else 0
    bottom = last.bbox.y0 - feet.y0 if feet else 0
    ends = [feet.x1 - last.bbox.x1] if feet else []
    ends += [_find_end(axes, renderer) - last.bbox.x1 for axes in figure.axes if axes.texts]
    return left / figure.dpi, bottom / figure.dpi, max(0, *ends, 0) / figure.dpi


def _find_end(axes: Axes, renderer: RendererBase) -> float:
    """Where the rightmost name in a panel ends, in pixels."""
    return max(float(text.get_window_extent(renderer).x1) for text in axes.texts)


def _share_gap(inches: float, panels: int, gap: float) -> float:
    """The gap between panels as matplotlib takes it: in sizes of one panel."""
    return gap * panels / max(inches - gap * (panels - 1), gap)
