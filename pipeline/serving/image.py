"""A digit in a picture, made into what MNIST would have made of it: 28x28, light on dark, centred by its mass.

The steps, each a picture of `--explain`: the paper is the picture without its ink, so light, shadows, ruled lines and
desks are paper; what differs from it by about half of its own darkest value is ink; connected ink is a part; the part
with the most ink, with the strokes close to it, is the digit. MNIST's digits were scaled to fit 20x20 with their aspect
kept, then moved so that their centre of mass is the field's centre (http://yann.lecun.com/exdb/mnist).
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from pipeline.errors import DataError
from pipeline.serving.ink import Array, Labels, Layer, Part, contains, find_parts, measure_ink

Digit = npt.NDArray[np.uint8]
SIDE, BOX, CENTRE = 28, 20, 14
WORK_SIDE = 320  # pixels of the longer side while ink is looked for; the digit ends in 20
CLOSE, STROKE_CLOSE = 0.08, 0.3  # gaps, of the digit's size, across which any part and a stroke belong to it
STROKE = 0.6  # of the digit's size; what is less high may be a loose stroke
SPECK = 0.03  # of the digit's ink; a part with less is dust
SECOND, SECOND_HEIGHT = 0.15, 0.45  # of the digit's ink and height; other parts with more may be digits too
MOST_OTHERS = 4  # with more it is a text or a texture
RECTANGLE = 0.86  # how much of its smallest rectangle a sheet fills; a disc fills 0.79
FAINTEST = 0.15  # of the darkest ink; below it are the artefacts of a JPEG


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """How a picture was read: all of one size but `digit`, which is uint8 (28, 28).

    `chosen` marks the pixels of the digit, `others` counts parts beside it that may be digits too.
    """

    picture: Array
    paper: Array
    labels: Labels
    chosen: npt.NDArray[np.bool_]
    digit: Digit
    others: int


def read_digit(grey: Array) -> Reading:
    """The digit in a picture in grey (height, width), 0 black to 1 white; raises DataError where none stands out."""
    picture = fit_work_size(grey)
    smooth = ndimage.gaussian_filter(picture, 0.8)
    noise = 1.5 * float(np.median(np.abs(smooth - ndimage.gaussian_filter(smooth, 2))))
    dark, light = find_parts(smooth, noise, relative=True), find_parts(1 - smooth, noise, relative=False)
    negative = is_negative(dark, light)
    layer = light if negative else dark
    main = choose_part(layer.parts)
    if main is None:
        raise DataError("the picture is empty; give one digit that stands out from its background")
    chosen, others = gather_parts(layer, main)
    if others > MOST_OTHERS:
        raise DataError(f"{others + 1} parts of the picture may be digits; crop it to one")
    ink = measure_ink(layer.paper, 1 - picture if negative else picture, relative=not negative)
    return Reading(
        picture=picture,
        paper=1 - layer.paper if negative else layer.paper,
        labels=layer.labels,
        chosen=chosen,
        digit=centre_digit(weigh_ink(ink, chosen)),
        others=others,
    )


def fit_work_size(grey: Array) -> Array:
    """The picture with a longer side of WORK_SIDE pixels."""
    factor = WORK_SIDE / max(grey.shape)
    height, width = (max(8, round(length * factor)) for length in grey.shape)
    way = Image.Resampling.BICUBIC if factor > 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(grey).resize((width, height), way)).clip(0, 1)


def is_negative(dark: Layer, light: Layer) -> bool:
    """Whether the digit is light on dark, by what is darker and what is lighter than the paper.

    The hole of a 0 lies within the 0, so where one contains the other the outer one is ink, unless it is a sheet.
    """
    first, second = choose_part(dark.parts), choose_part(light.parts)
    if first is None or second is None:
        return second is not None
    if contains(first.box, second.box):
        return not _is_ink(dark, first, second)
    if contains(second.box, first.box):
        return _is_ink(light, second, first)
    return first.mass * first.peak < second.mass * second.peak


def _is_ink(layer: Layer, outer: Part, inner: Part) -> bool:
    """Whether a part that contains one of the opposite shade is ink, and not a sheet or a gleam with ink on it."""
    return outer.peak > inner.peak / 2 and not is_sheet(layer.labels == outer.number)


def choose_part(parts: tuple[Part, ...]) -> Part | None:
    """The part with the most ink; what the picture's edge cuts, only if all else is small. None without any."""
    most = max(parts, key=attrgetter("mass"), default=None)
    whole = max((part for part in parts if not part.at_edge), key=attrgetter("mass"), default=None)
    return whole if whole and most and whole.mass > SECOND * most.mass else most


def gather_parts(layer: Layer, main: Part) -> tuple[npt.NDArray[np.bool_], int]:
    """The pixels of the main part with the strokes that belong to it, and how many others may be digits."""
    digit, left = main, [part for part in layer.parts if part is not main]
    chosen = layer.labels == main.number
    while left:
        far = ndimage.distance_transform_edt(~chosen)
        gaps = {part.number: float(far[layer.labels == part.number].min()) for part in left}
        joining = [part for part in left if gaps[part.number] <= _reach(part, digit) * digit.size]
        if not joining:
            break
        for part in joining:
            chosen |= layer.labels == part.number
            digit = digit.join(part)
        left = [part for part in left if part not in joining]
    left = [part for part in left if part.mass > SPECK * digit.mass]
    alone = sum(part.mass > SECOND * digit.mass or part.height > SECOND_HEIGHT * digit.size for part in left)
    return chosen, alone or int(sum(part.mass for part in left) > SECOND * digit.mass)


def _reach(part: Part, digit: Part) -> float:
    """The gap, of the digit's size, across which a part still belongs to it.

    That is more for what is faintly connected, and for what is less high and above or below, as the bar of a 5 may be.
    """
    together = min(part.box[3], digit.box[3]) - max(part.box[1], digit.box[1])
    stroke = part.height < STROKE * digit.size and together > part.width / 3
    return STROKE_CLOSE if stroke or part.basin == digit.basin else CLOSE


def weigh_ink(ink: Array, chosen: npt.NDArray[np.bool_]) -> Array:
    """How dark the digit is, 0 to 1, with its soft edges, and 0 around it."""
    near = ndimage.binary_dilation(chosen, iterations=3)
    darkest = float(np.quantile(ink[chosen], 0.9))
    weights = np.where(near, ink / darkest, 0).clip(0, 1)
    return np.where(weights > FAINTEST, weights, 0).astype(np.float32)


def centre_digit(ink: Array) -> Digit:
    """The ink scaled to fit 20x20 and placed in 28x28 by its centre of mass, uint8; needs a pixel that is not 0."""
    tight = ink[ndimage.find_objects(ink > 0, 1)[0]]
    height, width = (max(1, round(length * BOX / max(tight.shape))) for length in tight.shape)
    scaled = np.asarray(Image.fromarray(tight).resize((width, height), Image.Resampling.LANCZOS)).clip(0)
    scaled = scaled / scaled.max()
    weights = scaled / scaled.sum()
    top = _place(float(weights.sum(axis=1) @ np.arange(height)), height)
    left = _place(float(weights.sum(axis=0) @ np.arange(width)), width)
    field = np.zeros((SIDE, SIDE), np.uint8)
    field[top : top + height, left : left + width] = np.rint(255 * scaled)
    return field


def is_sheet(part: npt.NDArray[np.bool_]) -> bool:
    """Whether a part, with what is in it, is a rectangle in any position."""
    filled = ndimage.binary_fill_holes(part)
    points = np.argwhere(filled ^ ndimage.binary_erosion(filled)).astype(np.float64)
    angles = np.linspace(0, np.pi / 2, 46)
    sides = [
        (1 + np.ptp(points @ (np.cos(a), np.sin(a))), 1 + np.ptp(points @ (-np.sin(a), np.cos(a)))) for a in angles
    ]
    return bool(filled.sum() > RECTANGLE * min(width * height for width, height in sides))


def _place(mass: float, length: int) -> int:
    """Where a side of this length begins, so that its centre of mass is the field's centre and all of it stays in."""
    return min(max(round(CENTRE - mass), 0), SIDE - length)
