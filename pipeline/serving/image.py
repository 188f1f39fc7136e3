"""A digit in a picture file, made into what MNIST would have made of it: 28x28, light on dark, centred by its mass.

MNIST's digits were scaled to fit 20x20 with their aspect kept and edges smoothed, then moved as a whole so that their
centre of mass is the field's centre (http://yann.lecun.com/exdb/mnist). Ink is what differs from the picture's edge, so
black on white and white on black are the same.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.errors import DataError

Array = npt.NDArray[np.float32]
SIDE, BOX, CENTRE = 28, 20, 14
MOST_PIXELS = 50_000_000
SHRINK_FROM = 2048  # pixels a side; the digit ends in 20
LEAST_CONTRAST = 0.1  # between ink and paper, of the range from black to white
FAINTEST = 0.15  # of the darkest ink; below it are the artefacts of a JPEG
NOISES = 8  # so many times what three quarters of the edge deviate by is still paper
ENLARGEMENT = 10


def read_digit(path: Path) -> npt.NDArray[np.uint8]:
    """The digit in a PNG or JPEG file as MNIST shows one: uint8 (28, 28), 0 is background.

    Raises DataError for a file that is no picture, is damaged or too large, or shows nothing; OSError as open() does.
    """
    return make_digit(path, read_grey(path))


def make_digit(path: Path, grey: Array) -> npt.NDArray[np.uint8]:
    """The digit in a picture that was read from `path`, as read_digit gives it; raises DataError for an empty one."""
    ink = find_ink(grey)
    if ink is None:
        raise DataError(f"{path}: the picture is empty; give one digit that stands out from its background")
    return centre_digit(ink)


def fit_picture(grey: Array) -> npt.NDArray[np.uint8]:
    """The whole picture on dark ground as Fashion-MNIST shows a thing, scaled to fit 28x28, uint8; nothing is centred.

    What has a light edge is taken for its negative, as the data set's own pictures were.
    """
    light = 1 - grey if np.median(_take_edge(grey)) > 0.5 else grey
    height, width = (max(1, round(length * SIDE / max(grey.shape))) for length in grey.shape)
    scaled = np.asarray(Image.fromarray(light).resize((width, height), Image.Resampling.LANCZOS)).clip(0, 1)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    field = np.zeros((SIDE, SIDE), np.uint8)
    field[top : top + height, left : left + width] = np.rint(255 * scaled)
    return field


def read_grey(path: Path) -> Array:
    """The picture upright and in grey, 0 black to 1 white, float32 (height, width); raises as read_digit."""
    if path.exists() and not path.is_file() and not path.is_dir():  # a folder is said by open()
        raise DataError(f"{path}: no plain file; give a PNG or JPEG picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which nobody asked for
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG")) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise Image.DecompressionBombError
                return _flatten(ImageOps.exif_transpose(picture))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = f"{MOST_PIXELS // 1_000_000} million pixels"
        raise DataError(f"{path}: the picture has more than {limit}; give a smaller one") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: no PNG or JPEG picture; give one") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the file system's, not the picture's
            raise
        raise DataError(f"{path}: the picture is damaged ({error}); give another") from error


def find_ink(grey: Array) -> Array | None:
    """How much each pixel differs from the paper, 0 to 1, float32 (height, width); None if nothing stands out.

    The paper is what the edge mostly is, and what deviates as the edge itself does is paper too.
    """
    edge = _take_edge(grey)
    paper = np.median(edge)
    noise = NOISES * float(np.quantile(np.abs(edge - paper), 0.75))
    lighter = grey - paper
    ink = lighter if lighter.max() >= -lighter.min() else -lighter
    darkest = float(ink.max())
    if darkest < max(LEAST_CONTRAST, noise):
        return None
    return np.where(ink > max(noise, FAINTEST * darkest), ink / darkest, 0).astype(np.float32)


def centre_digit(ink: Array) -> npt.NDArray[np.uint8]:
    """The ink scaled to fit 20x20 and placed in 28x28 by its centre of mass, uint8; needs a pixel that is not 0."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    tight = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(length * BOX / max(tight.shape))) for length in tight.shape)
    scaled = np.asarray(Image.fromarray(tight).resize((width, height), Image.Resampling.LANCZOS)).clip(0)
    scaled = scaled / scaled.max()
    weights = scaled / scaled.sum()
    top = _place(float(weights.sum(axis=1) @ np.arange(height)), height)
    left = _place(float(weights.sum(axis=0) @ np.arange(width)), width)
    field = np.zeros((SIDE, SIDE), np.uint8)
    field[top : top + height, left : left + width] = np.rint(255 * scaled)
    return field


def draw_seen(digit: npt.NDArray[np.uint8], normalised: Array) -> Image.Image:
    """The centred digit, uint8 (28, 28), and right of it the network's input, (28, 28) from 0 to 1; both enlarged."""
    bar = np.full((SIDE, 1), 128, np.uint8)
    pair = np.hstack([digit, bar, np.rint(255 * normalised).astype(np.uint8)])
    return Image.fromarray(np.kron(pair, np.ones((ENLARGEMENT, ENLARGEMENT), np.uint8)))


def _flatten(picture: Image.Image) -> Array:
    """The picture in grey, 0 to 1; what is transparent becomes paper."""
    if picture.mode.startswith("I"):  # 16 bits a pixel
        return np.asarray(_shrink(picture.convert("F")), np.float32) / np.float32(65535)
    if not picture.has_transparency_data:
        return np.asarray(_shrink(picture.convert("RGB")).convert("L"), np.float32) / np.float32(255)
    picture = _shrink(picture.convert("RGBA"))
    grey = np.asarray(picture.convert("L"), np.float32) / np.float32(255)
    alpha = np.asarray(picture.getchannel("A"), np.float32) / np.float32(255)
    paper = _guess_paper(grey, alpha)
    return paper + (grey - paper) * alpha


def _shrink(picture: Image.Image) -> Image.Image:
    """The picture with at most some 2,000 to 4,000 pixels a side, so that a photo takes little memory."""
    factor = max(picture.size) // SHRINK_FROM
    return picture.reduce(factor) if factor > 1 else picture


def _guess_paper(grey: Array, alpha: Array) -> Array:
    """The grey of what shines through: that of the edge, or where the edge is clear, the opposite of the ink."""
    opaque = _take_edge(alpha) >= 0.5
    if 2 * opaque.sum() >= len(opaque):
        return np.asarray(np.median(_take_edge(grey)[opaque]), np.float32)
    ink = float((grey * alpha).sum() / max(float(alpha.sum()), 1.0))
    return np.asarray(ink < 0.5, np.float32)


def _take_edge(values: Array) -> Array:
    """The outermost pixels, in one row."""
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def _place(mass: float, length: int) -> int:
    """Where a side of this length begins, so that its centre of mass is the field's centre and all of it stays in."""
    return min(max(round(CENTRE - mass), 0), SIDE - length)
