"""What a network will see of a picture file, what makes that unsure, and a drawing of the steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from skimage.color import label2rgb

from pipeline.data.likeness import UNUSUAL, Sample, measure_likeness
from pipeline.errors import DataError
from pipeline.images import MNIST, Images
from pipeline.serving.image import Digit, Reading, read_digit
from pipeline.serving.ink import Array
from pipeline.serving.picture import read_picture, take_edge

PANEL = 280  # pixels, the height of each step in a drawing
FRAME = (220, 30, 30)
UNSURE = 0.8  # a top probability below this is named


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What the network will see of a picture, uint8 and of the shape of a training image.

    `steps` are pictures of how it came, `doubts` sentences on what makes the answer unsure.
    """

    path: Path
    seen: Digit
    steps: tuple[Image.Image, ...]
    doubts: tuple[str, ...] = ()

    def draw(self) -> Image.Image:
        """The steps beside each other, what the network sees last."""
        gap = np.full((PANEL, 4, 3), 128, np.uint8)
        panels = [_fit_panel(step) for step in (*self.steps, Image.fromarray(self.seen))]
        return Image.fromarray(np.hstack([piece for panel in panels for piece in (gap, panel)][1:]))


def look_at(path: Path, *, whole: bool, ink: str = "light", images: Images = MNIST) -> Look:
    """The digit in a picture file, or with `whole` all of the picture, as the training images show such.

    Raises DataError with the path, and OSError.
    """
    try:
        if whole:
            picture = read_picture(path, colour=images.colour)
            return Look(path=path, seen=fit_picture(picture, images, ink), steps=(_draw(picture),))
        reading = read_digit(read_picture(path))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    doubt = f"it shows {reading.others + 1} parts that may be digits; the largest was read"
    doubts = (doubt,) if reading.others else ()
    return Look(path=path, seen=_tint(reading.digit, ink), steps=_draw_steps(reading), doubts=doubts)


def _tint(seen: Digit, ink: str) -> Digit:
    """Light on dark as it was made, or its negative."""
    return seen if ink == "light" else 255 - seen


def describe_distance(look: Look, sample: Sample | None) -> str:
    """A sentence on a picture that is unlike the training images; empty for one like them, or without a sample."""
    if sample is None or (likeness := float(measure_likeness(look.seen[np.newaxis], sample.images)[0])) >= sample.usual:
        return ""
    return (
        f"unlike the images that the network learned from (likeness {likeness:.2f}, below that of "
        f"{100 - 100 * UNUSUAL:.0f} % of the test images, {sample.usual:.2f})"
    )


def describe_doubt(probabilities: Sequence[float], word: str, classes: Sequence[str]) -> str:
    """A sentence on an answer that is not clear; empty for one that is."""
    *_, second, first = map(int, np.argsort(probabilities))
    if probabilities[first] >= UNSURE:
        return ""
    top, next_one = (f"{word} {classes[place]}" for place in (first, second))
    return f"unsure: {top} has {probabilities[first]:.2f}, {next_one} {probabilities[second]:.2f}"


def fit_picture(picture: Array, images: Images, ink: str) -> Digit:
    """The whole picture scaled to fit a training image, uint8; nothing is centred.

    Where those have a common ground, what has the other ground is taken for its negative, as Fashion-MNIST's own
    pictures were; else the picture stays as it is, on the ground of its own edge.
    """
    if picture.ndim == 3:
        return np.stack([_fit_channel(picture[..., each], images) for each in range(picture.shape[2])], axis=-1)
    if ink == "none":
        return _fit_channel(picture, images)
    light = 1 - picture if np.median(take_edge(picture)) > 0.5 else picture
    return _tint(_fit_channel(light, images, ground=0), ink)


def _fit_channel(values: Array, images: Images, ground: float | None = None) -> Digit:
    """One channel, 0 to 1, scaled to fit a training image, on its ground or that of its own edge; uint8 (H, W)."""
    factor = min(images.height / values.shape[0], images.width / values.shape[1])
    height, width = (max(1, round(length * factor)) for length in values.shape)
    scaled = np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.LANCZOS)).clip(0, 1)
    top, left = (images.height - height) // 2, (images.width - width) // 2
    shade = np.median(take_edge(values)) if ground is None else ground
    field = np.full((images.height, images.width), np.rint(255 * shade), np.uint8)
    field[top : top + height, left : left + width] = np.rint(255 * scaled)
    return field


def _draw_steps(reading: Reading) -> tuple[Image.Image, ...]:
    """The picture, its paper, and its parts in colours with the digit framed."""
    parts = Image.fromarray(np.rint(255 * label2rgb(reading.labels, reading.picture, bg_label=0)).astype(np.uint8))
    rows, columns = np.nonzero(reading.chosen)
    box = (columns.min() - 2, rows.min() - 2, columns.max() + 2, rows.max() + 2)
    ImageDraw.Draw(parts).rectangle(tuple(map(int, box)), outline=FRAME, width=2)
    return _draw(reading.picture), _draw(reading.paper), parts


def _draw(values: Array) -> Image.Image:
    return Image.fromarray(np.rint(255 * values.clip(0, 1)).astype(np.uint8))


def _fit_panel(picture: Image.Image) -> Digit:
    """The picture enlarged or reduced to the height of a panel, uint8 (PANEL, width, 3)."""
    way = Image.Resampling.NEAREST if picture.height < PANEL / 2 else Image.Resampling.BILINEAR
    width = max(1, round(picture.width * PANEL / picture.height))
    return np.asarray(picture.convert("RGB").resize((width, PANEL), way))
