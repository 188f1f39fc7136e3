"""Pictures of a handwritten digit as people take them: one MNIST digit, drawn on paper, lit, and photographed.

Every kind is drawn from a seed. Values are what the surface reflects, 0 black to 1 white, until the last step.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Array = npt.NDArray[np.float32]
Digit = npt.NDArray[np.uint8]
Paint = Callable[[Array, np.random.Generator], Array]
Light = Callable[[tuple[int, int], np.random.Generator], Array]
HEIGHT, WIDTH = 400, 480
MNIST_SIDE, MNIST_BOX = 28, 20


@dataclass(frozen=True, kw_only=True)
class Scene:
    """How a digit is written and photographed.

    `size` is the digit's height in pixels, `ink` and `paper` what they reflect, `pen` the strokes' width beside
    MNIST's (below 1 thinner), `angle` in degrees. `ground` paints the sheet before the digit is written, `around`
    puts the written sheet into its surroundings, `light` is a map of factors, `noise` a standard deviation, `blur` in
    pixels, `quality` JPEG's (0 for none).
    """

    size: int = 200
    ink: float = 0.1
    paper: float = 0.95
    pen: float = 1.0
    angle: float = 0.0
    shape: tuple[int, int] = (HEIGHT, WIDTH)
    ground: tuple[Paint, ...] = ()
    around: tuple[Paint, ...] = ()
    light: tuple[Light, ...] = ()
    noise: float = 0.0
    blur: float = 0.0
    quality: int = 0


def render(
    scene: Scene, digit: Digit, rng: np.random.Generator, second: Digit | None = None, beside: int = 0
) -> Image.Image:
    """The photograph of a scene, grey; a `second` digit is centred so far from the right edge, which may cut it."""
    sheet = np.full(scene.shape, scene.paper, np.float32)
    for paint in scene.ground:
        sheet = paint(sheet, rng)
    room = max(0, min(scene.shape) - int(1.2 * scene.size)) // 2
    down, right = (int(rng.integers(-room, room + 1)) for _ in range(2))
    middle = (scene.shape[0] // 2 + down // 2, scene.shape[1] // 2 + right // 2)
    sheet = write(sheet, digit, scene, middle)
    if second is not None:
        sheet = write(sheet, second, scene, (scene.shape[0] // 2, scene.shape[1] - beside))
    for place in scene.around:
        sheet = place(sheet, rng)
    for shine in scene.light:
        sheet = sheet * shine(sheet.shape, rng)  # type: ignore[arg-type]
    sheet = ndimage.gaussian_filter(sheet, scene.blur) if scene.blur else sheet
    sheet = sheet + rng.normal(0, scene.noise, sheet.shape) if scene.noise else sheet
    picture = Image.fromarray(np.rint(255 * sheet.clip(0, 1)).astype(np.uint8))
    if not scene.quality:
        return picture
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=scene.quality)
    return Image.open(stream).convert("L")


def write(sheet: Array, digit: Digit, scene: Scene, middle: tuple[int, int]) -> Array:
    """The sheet with the digit written around `middle` (row, column); what does not fit is cut off."""
    side = round(scene.size * MNIST_SIDE / MNIST_BOX)
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    turned = large.rotate(scene.angle, Image.Resampling.BICUBIC) if scene.angle else large
    values = ndimage.gaussian_filter(np.asarray(turned, np.float32) / 255, side / 112)
    if scene.pen > 1:  # wider by so many of MNIST's pixels
        reach = 2 * round((scene.pen - 1) * side / MNIST_SIDE) + 1
        values = ndimage.grey_dilation(values, (reach, reach))
    edge = 0.5 if scene.pen >= 1 else 1 - 0.5 * scene.pen
    stroke = ((values - edge) * 4 + 0.5).clip(0, 1)
    top, left = middle[0] - side // 2, middle[1] - side // 2
    field = np.zeros(sheet.shape, np.float32)
    rows = slice(max(top, 0), min(top + side, sheet.shape[0]))
    columns = slice(max(left, 0), min(left + side, sheet.shape[1]))
    field[rows, columns] = stroke[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return sheet + field * (scene.ink - sheet)


def rule(sheet: Array, rng: np.random.Generator, across: bool = False) -> Array:
    """Ruled, or with `across` squared, paper."""
    ruled, step = sheet.copy(), int(rng.integers(28, 48))
    lines = np.zeros(sheet.shape, bool)
    for first in range(2):
        lines[int(rng.integers(step)) + first :: step] = True
        if across:
            lines[:, int(rng.integers(step)) + first :: step] = True
    ruled[lines] *= 0.75
    return ruled


square = partial(rule, across=True)


def sprinkle(sheet: Array, rng: np.random.Generator) -> Array:
    """Five dark specks, 2 to 5 pixels across, anywhere."""
    dusty = sheet.copy()
    for _ in range(5):
        size = int(rng.integers(2, 6))
        top, left = int(rng.integers(sheet.shape[0] - size)), int(rng.integers(sheet.shape[1] - size))
        dusty[top : top + size, left : left + size] = 0.15
    return dusty


def frame(sheet: Array, _rng: np.random.Generator, inset: int = 0, width: int = 4) -> Array:
    """A printed frame, at the picture's edge or so far inside."""
    framed = sheet.copy()
    outer = framed[inset : framed.shape[0] - inset, inset : framed.shape[1] - inset]
    kept = outer[width:-width, width:-width].copy()
    outer[:] = 0.1
    outer[width:-width, width:-width] = kept
    return framed


def box(sheet: Array, rng: np.random.Generator) -> Array:
    """A printed box of a form."""
    return frame(sheet, rng, inset=int(rng.integers(15, 40)), width=2)


def lay_on_desk(sheet: Array, rng: np.random.Generator, tilt: float = 0.0) -> Array:
    """The sheet, smaller, on a desk of another grey and with a grain."""
    rows, columns = sheet.shape
    small = Image.fromarray(sheet).resize((int(columns * 0.75), int(rows * 0.75)), Image.Resampling.BICUBIC)
    mask = Image.new("L", small.size, 255)
    small, mask = (each.rotate(tilt, Image.Resampling.BICUBIC, expand=True) for each in (small, mask))
    grain = ndimage.gaussian_filter(rng.normal(0, 1, sheet.shape), (1, 12))
    desk = (rng.uniform(0.3, 0.55) + 0.015 * grain / grain.std()).astype(np.float32)
    scene = Image.fromarray(desk)
    corner = (int((columns - small.width) * rng.uniform(0.3, 0.7)), int((rows - small.height) * rng.uniform(0.3, 0.7)))
    scene.paste(small, corner, mask)
    return np.asarray(scene, np.float32)


def lay_askew(sheet: Array, rng: np.random.Generator) -> Array:
    """The sheet on a desk, turned by up to 12 degrees."""
    return lay_on_desk(sheet, rng, tilt=float(rng.uniform(-12, 12)))


def add_bar(sheet: Array, _rng: np.random.Generator) -> Array:
    """A screenshot's status bar."""
    barred = sheet.copy()
    barred[:28] = 0.05
    return barred


def fall_off(low: float, high: float) -> Light:
    """Light that falls off in a straight line from one side to the other."""

    def shine(shape: tuple[int, int], rng: np.random.Generator) -> Array:
        ramp = _project(shape, float(rng.uniform(0, 2 * np.pi)))
        return (low + (high - low) * (ramp - ramp.min()) / np.ptp(ramp)).astype(np.float32)

    return shine


def vignette(shape: tuple[int, int], _rng: np.random.Generator) -> Array:
    """Light that falls off to the corners, to a half."""
    rows, columns = np.indices(shape)
    far = np.hypot(rows / shape[0] - 0.5, columns / shape[1] - 0.5)
    return (1 - 0.5 * (far / far.max()) ** 2).astype(np.float32)


def shade(soft: float) -> Light:
    """A hand's shadow over about half of the picture, 30 % darker, its edge `soft` pixels wide."""

    def shine(shape: tuple[int, int], rng: np.random.Generator) -> Array:
        ramp = _project(shape, float(rng.uniform(0, 2 * np.pi))) + float(rng.uniform(-60, 60))
        return (0.85 + 0.15 * np.tanh(ramp / soft)).astype(np.float32)

    return shine


def glare(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """A lamp's reflection near the middle, half as bright again."""
    rows, columns = np.indices(shape)
    middle = [length * float(rng.uniform(0.3, 0.7)) for length in shape]
    far = np.hypot(rows - middle[0], columns - middle[1])
    return (1 + 0.5 * np.exp(-((far / 60) ** 2))).astype(np.float32)


def _project(shape: tuple[int, int], angle: float) -> Array:
    """How far each pixel lies from the middle in a direction, in pixels."""
    rows, columns = np.indices(shape)
    ahead = (columns - shape[1] / 2) * np.cos(angle) + (rows - shape[0] / 2) * np.sin(angle)
    return np.asarray(ahead, np.float32)


CHALK = Scene(ink=0.85, paper=0.2)
SCENES: Mapping[str, Scene] = {
    "clean": Scene(),
    "paint canvas": Scene(size=220, ink=1, paper=0, shape=(280, 280), pen=1.5),
    "scan": Scene(size=180, shape=(700, 500), paper=0.98, noise=0.01),
    "noise": Scene(noise=0.06),
    "blur": Scene(blur=4),
    "thin pen": Scene(pen=0.5),
    "pencil": Scene(ink=0.55, noise=0.02),
    "marker": Scene(pen=2),
    "+15 degrees": Scene(angle=15),
    "-15 degrees": Scene(angle=-15),
    "small": Scene(size=40),
    "tight crop": Scene(size=200, shape=(210, 210)),
    "blackboard": replace(CHALK, noise=0.02),
    "glare": Scene(paper=0.65, light=(glare,)),
    "JPEG, quality 20": Scene(quality=20),
    "light .70-.90": Scene(light=(fall_off(0.70, 0.90),)),
    "light .50-.90": Scene(light=(fall_off(0.50, 0.90),)),
    "dark corners": Scene(light=(vignette,)),
    "shadow of a hand": Scene(light=(shade(4),)),
    "soft shadow": Scene(light=(shade(40),)),
    "ruled": Scene(ground=(rule,)),
    "squared": Scene(ground=(square,)),
    "five specks": Scene(ground=(sprinkle,)),
    "printed frame": Scene(ground=(frame,)),
    "box of a form": Scene(ground=(box,)),
    "note on a desk": Scene(around=(lay_on_desk,)),
    "note askew on a desk": Scene(around=(lay_askew,)),
    "status bar": Scene(around=(add_bar,)),
    "phone photo": Scene(ground=(rule,), light=(fall_off(0.60, 0.85),), angle=8, noise=0.03, blur=1, quality=75),
    "shadow, specks": Scene(ground=(sprinkle,), light=(shade(4),)),
    "squared, light .50-.90": Scene(ground=(square,), light=(fall_off(0.50, 0.90),)),
    "frame, ruled": Scene(ground=(rule, frame)),
    "desk, light .60-.85, noise": Scene(around=(lay_askew,), light=(fall_off(0.60, 0.85),), noise=0.02),
    "pencil, ruled, shadow": Scene(ink=0.45, ground=(rule,), light=(shade(20),), noise=0.015),
    "blackboard, light .50-.90": replace(CHALK, light=(fall_off(0.50, 0.90),), noise=0.02),
    "small, specks, light .50-.90": Scene(size=60, ground=(sprinkle,), light=(fall_off(0.50, 0.90),)),
}
"""Kinds of pictures that show one digit; the last ones combine others."""


def render_kind(kind: str, digit: Digit, rng: np.random.Generator) -> Image.Image:
    """A picture of a kind (KINDS)."""
    if kind == "28x28":
        return Image.fromarray(digit)
    if kind == "28x28, inverted":
        return Image.fromarray(255 - digit)
    return render(SCENES[kind], digit, rng)


KINDS = ("28x28", "28x28, inverted", *SCENES)


def render_two(digits: tuple[Digit, Digit], rng: np.random.Generator, cut: bool) -> Image.Image:
    """Two digits beside each other; with `cut` the edge leaves about half of the second."""
    scene = Scene(size=180, shape=(HEIGHT, 440 if cut else 700))
    return render(scene, digits[0], rng, digits[1], 0 if cut else 140)
