"""Figures as files, each drawn once: `savefig` draws for a layout engine first, whose turn comes anyway."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

PREVIEW_SIZE = (256, 256)
PRINTED_DPI = 200
SAME_BYTES: dict[Any, Any] = {"svg.hashsalt": "figure", "svg.fonttype": "path"}


def render_files(figures: Iterable[tuple[str, Figure]]) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of named figures, each as a PNG fit for print and as an SVG."""
    for name, figure in figures:
        yield f"{name}.png", render_png(figure, PRINTED_DPI)
        yield f"{name}.svg", render_svg(figure)


def render_png(figure: Figure, dpi: int = 100) -> bytes:
    """The figure as a PNG file of its own size, with so many dots an inch."""
    stream = io.BytesIO()
    figure.set_dpi(dpi)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(stream)
    return stream.getvalue()


def render_svg(figure: Figure) -> bytes:
    """The figure as an SVG file without a date; the same figure gives the same bytes."""
    stream = io.BytesIO()
    canvas: Any = FigureCanvasSVG(figure)
    with matplotlib.rc_context(SAME_BYTES):
        canvas.print_svg(stream, metadata={"Date": None})
    return stream.getvalue()


def shrink_png(png: bytes) -> bytes:
    """A small WebP file of a PNG file, as MLflow's grid of images wants it beside each."""
    image = Image.open(io.BytesIO(png))
    image.thumbnail(PREVIEW_SIZE)
    stream = io.BytesIO()
    image.save(stream, format="webp")
    return stream.getvalue()
