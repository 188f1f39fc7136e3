"""Figures as files, each drawn once: `savefig` draws for a layout engine first, whose turn comes anyway."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

PREVIEW_SIZE = (256, 256)


def render_png(figure: Figure) -> bytes:
    """The figure as a PNG file of its own size and resolution."""
    stream = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(stream)
    return stream.getvalue()


def render_svg(figure: Figure) -> bytes:
    """The figure as an SVG file without a date."""
    stream = io.BytesIO()
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(stream, metadata={"Date": None})
    return stream.getvalue()


def shrink_png(png: bytes) -> bytes:
    """A small WebP file of a PNG file, as MLflow's grid of images wants it beside each."""
    image = Image.open(io.BytesIO(png))
    image.thumbnail(PREVIEW_SIZE)
    stream = io.BytesIO()
    image.save(stream, format="webp")
    return stream.getvalue()
