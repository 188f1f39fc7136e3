"""A picture file of any usual format as one small grey array, whatever its size, orientation and depth."""

from __future__ import annotations

import io
import stat
import sys
import warnings
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.errors import DataError

Array = npt.NDArray[np.float32]
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".heif"})
STANDARD_INPUT = Path("-")
MOST_PIXELS = 120_000_000
MOST_BYTES = 512 * 2**20  # of standard input, which has no size of its own
ENOUGH = 1024  # pixels of the longer side, at least, after a large picture was made smaller
BAND = 256  # rows of the result that are made at once
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
HEIC = (
    "a HEIC picture, which is not read here; convert it to JPEG (`heif-convert IN.heic OUT.jpg` on Linux, "
    "`sips -s format jpeg IN.heic --out OUT.jpg` on a Mac)"
)


def list_pictures(paths: tuple[Path, ...]) -> list[Path]:
    """The paths with every folder replaced by the picture files in it, by name; raises DataError for one without any.

    What `predict --explain` has saved there is left out.
    """
    found: list[Path] = []
    for path in paths:
        is_folder = path != STANDARD_INPUT and path.is_dir()
        inside = sorted(filter(_is_picture, path.iterdir())) if is_folder else [path]
        if not inside:
            raise DataError(f"{path}: there is no picture file in this folder; give the pictures themselves")
        found += inside
    return found


def read_picture(path: Path, *, colour: bool = False) -> Array:
    """The picture upright, 0 dark to 1 light, float32 (height, width) or (height, width, 3), some 2,000 pixels a side.

    "-" is standard input. Raises DataError, without the path, for a file that is not a picture, is damaged or too
    large; OSError as open() does.
    """
    with _open_file(path) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, which nobody asked for; the size is checked below
        head = stream.read(12)
        stream.seek(0)
        if head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS:
            raise DataError(HEIC)
        try:
            with Image.open(stream, formats=FORMATS) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise Image.DecompressionBombError
                if colour:
                    return np.stack([_flatten(picture, channel) for channel in "RGB"], axis=-1)
                return _flatten(picture, "L")
        except Image.DecompressionBombError:
            limit = f"{MOST_PIXELS // 1_000_000} million pixels"
            raise DataError(f"the picture has more than {limit}; give a smaller one") from None
        except UnidentifiedImageError:
            raise DataError("not a picture; give a PNG, JPEG, GIF, BMP, WebP or TIFF file") from None
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the file system's, not the picture's
                raise
            raise DataError(f"the picture is damaged ({error}); give another") from error


def _is_picture(file: Path) -> bool:
    named = file.suffix.lower() in ENDINGS and not file.name.endswith(".seen.png") and not file.name.startswith(".")
    return named and file.is_file()


def _open_file(path: Path) -> IO[bytes]:
    """A regular file, or all of standard input."""
    if path == STANDARD_INPUT:
        content = sys.stdin.buffer.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise DataError(f"standard input has more than {MOST_BYTES >> 20} MiB; give a smaller picture")
        return io.BytesIO(content)
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError("not a regular file; give a picture file, a folder of them, or - for standard input")
    return path.open("rb")


def _flatten(picture: Image.Image, channel: str) -> Array:
    """One channel of the picture, "L" for grey; what is transparent becomes paper."""
    orientation = picture.getexif().get(0x0112, 1)
    picture.draft("L" if channel == "L" else "RGB", (ENOUGH, ENOUGH))  # a JPEG is decoded at a fraction of its size
    if picture.mode.startswith(("I", "F")):
        grey = _scale_depth(_shrink(picture, "F", channel)[0])
    elif picture.has_transparency_data:
        colours, alpha = _shrink(picture, "RGBA", channel)
        grey, alpha = colours / np.float32(255), alpha / np.float32(255)
        paper = _guess_paper(grey, alpha)
        grey = paper + (grey - paper) * alpha
    else:
        grey = _shrink(picture, "L" if picture.mode in ("1", "L") else "RGB", channel)[0] / np.float32(255)
    return _turn(grey, orientation)


def _shrink(picture: Image.Image, mode: str, channel: str) -> tuple[Array, Array]:
    """A channel and opacity (0 to 255; for "F" as stored), smaller, band by band, so that nothing large is copied."""
    factor = max(1, max(picture.size) // ENOUGH)
    values, alphas = [], []
    for top in range(0, picture.height, BAND * factor):
        band = picture.crop((0, top, picture.width, min(top + BAND * factor, picture.height))).convert(mode)
        band = band.reduce(factor) if factor > 1 else band
        alphas.append(np.asarray(band.getchannel("A"), np.float32) if mode == "RGBA" else np.empty((0, 0), np.float32))
        if mode in ("RGB", "RGBA"):
            band = band.convert("L") if channel == "L" else band.getchannel(channel)
        values.append(np.asarray(band, np.float32))
    return np.concatenate(values), np.concatenate(alphas)


def _scale_depth(values: Array) -> Array:
    """Values of 16 bits, of which cameras and scanners may use 10 or 12, from 0 to 1; also floating-point ones."""
    values = np.nan_to_num(values) - min(0.0, float(np.nan_to_num(values).min()))
    most = float(values.max())
    if most <= 1:
        return np.asarray(values, np.float32)
    return np.asarray(values / (2 ** np.ceil(np.log2(most + 1)) - 1), np.float32)


def _turn(grey: Array, orientation: int) -> Array:
    """The picture upright, by the orientation that a camera has noted."""
    tagged = Image.fromarray(grey)
    tagged.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(tagged), np.float32)


def _guess_paper(grey: Array, alpha: Array) -> Array:
    """The grey of what shines through: that of the edge, or where the edge is clear, the opposite of the ink."""
    opaque = take_edge(alpha) >= 0.5
    if 2 * opaque.sum() >= len(opaque):
        return np.asarray(np.median(take_edge(grey)[opaque]), np.float32)
    ink = float((grey * alpha).sum() / max(float(alpha.sum()), 1.0))
    return np.asarray(ink < 0.5, np.float32)


def take_edge(values: Array) -> Array:
    """The outermost pixels, in one row."""
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])
