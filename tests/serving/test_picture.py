"""Picture files of every usual kind are read, within bounds; what is none is refused in one line."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.rendering import shade, sprinkle
from pipeline.errors import DataError
from pipeline.serving.look import look_at
from pipeline.serving.picture import MOST_PIXELS, list_pictures, read_picture
from tests.conftest import run_python
from tests.serving.pictures import draw, load_test_digits, save

DIGIT = load_test_digits(1)[0]
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))


def save_animated(picture: Image.Image, path: Path) -> None:
    """The picture, then a blank one."""
    picture.save(path, save_all=True, append_images=[Image.new("L", picture.size, 255)], duration=100, loop=0)


FORMATS: dict[str, Callable[[Image.Image, Path], object]] = {
    "a.png": lambda picture, path: picture.save(path),
    "a.jpg": lambda picture, path: picture.save(path, quality=90),
    "a.gif": save_animated,
    "a.bmp": lambda picture, path: picture.save(path),
    "a.webp": lambda picture, path: picture.save(path, quality=90),
    "a.tif": lambda picture, path: picture.save(path, compression="tiff_lzw"),
    "12-bit.png": lambda picture, path: Image.fromarray(np.asarray(picture).astype(np.uint16) * 16).save(path),
    "float.tif": lambda picture, path: Image.fromarray(np.asarray(picture) / np.float32(255)).save(path),
    "wrong-ending.png": lambda picture, path: picture.save(path, "JPEG", quality=90),
    "CMYK.jpg": lambda picture, path: picture.convert("RGB").convert("CMYK").save(path, quality=90),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_shows_the_same_digit(tmp_path: Path, name: str) -> None:
    picture = draw(DIGIT, 200, 60, dark_on_light=True)
    FORMATS[name](picture, tmp_path / name)
    plain = look_at(save(picture, tmp_path / "plain.png"), whole=False).seen
    seen = look_at(tmp_path / name, whole=False).seen
    assert np.abs(seen.astype(int) - plain).mean() < 3


def write_bomb(path: Path) -> None:
    """A PNG of a hundred bytes that says it is 60,000 x 60,000 pixels."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0),
        b"IDAT": zlib.compress(b""),
        b"IEND": b"",
    }
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def write_slightly_too_large(path: Path) -> None:
    side = int(MOST_PIXELS**0.5) + 1
    Image.new("1", (side, side)).save(path)


def write_cut(path: Path) -> None:
    NOISE.save(path)
    path.write_bytes(path.read_bytes()[:-2000])


def write_page(path: Path) -> None:
    Image.fromarray(np.tile(DIGIT, (4, 5))).save(path)


def write_dust(path: Path) -> None:
    sheet = sprinkle(np.full((400, 480), 0.95, np.float32), np.random.default_rng(0))
    Image.fromarray((255 * sheet).astype(np.uint8)).save(path)


def write_shadow(path: Path) -> None:
    sheet = 0.95 * shade(4)((400, 480), np.random.default_rng(0))
    Image.fromarray((255 * sheet).astype(np.uint8)).save(path)


CROP = "parts of the picture may be digits; crop it to one"
NO_PICTURE = "not a picture; give a PNG, JPEG, GIF, BMP, WebP or TIFF file"
LARGE = "the picture has more than 120 million pixels; give a smaller one"
EMPTY = "the picture is empty; give one digit that stands out"
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "blank": (lambda path: Image.new("L", (50, 50), 255).save(path), EMPTY),
    "black": (lambda path: Image.new("RGB", (50, 50)).save(path), EMPTY),
    "clear": (lambda path: Image.new("RGBA", (9, 9)).save(path), EMPTY),
    "one pixel": (lambda path: Image.new("L", (1, 1), 9).save(path), EMPTY),
    "noise": (lambda path: NOISE.save(path), CROP),
    "page of digits": (write_page, CROP),
    "text": (lambda path: path.write_text("7"), NO_PICTURE),
    "empty": (lambda path: path.write_bytes(b""), NO_PICTURE),
    "HEIC": (lambda path: path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100)), "a HEIC picture, which is not read"),
    "vector": (lambda path: path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>"), NO_PICTURE),
    "dust alone": (write_dust, EMPTY),
    "a shadow alone": (write_shadow, EMPTY),
    "cut": (write_cut, "the picture is damaged ("),
    "bomb": (write_bomb, LARGE),
    "too large": (write_slightly_too_large, LARGE),
}


@pytest.mark.parametrize("case", BAD)
def test_what_shows_no_digit_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    write, reason = BAD[case]
    path = tmp_path / "bad.png"
    write(path)
    with pytest.raises(DataError) as caught:
        look_at(path, whole=False)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_its_pictures_by_name(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", "a.jpg.seen.png", ".hidden.png"):
        (tmp_path / name).touch()
    assert [path.name for path in list_pictures((tmp_path, Path("-")))] == ["a.jpg", "b.PNG", "-"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there is no picture file in this folder"):
        list_pictures((tmp_path / "empty",))
    with pytest.raises(DataError, match="not a regular file; give a picture file"):
        read_picture(tmp_path)


READ = """
import resource, sys
from pathlib import Path
from pipeline.serving.image import read_digit
from pipeline.serving.picture import read_picture
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read_digit(read_picture(Path(sys.argv[1])))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(("ending", "limit"), [("jpg", 100), ("png", 350)])
def test_a_phones_largest_picture_takes_bounded_memory(tmp_path: Path, ending: str, limit: int) -> None:
    """108 million pixels in grey: a JPEG is decoded at an eighth of its size, a PNG once (103 MiB) and never copied."""
    picture = draw(DIGIT, 300, 100, dark_on_light=True).resize((12_000, 9_000))
    path = save(picture, tmp_path / f"large.{ending}")
    del picture
    done = run_python(tmp_path, "-c", READ, str(path))
    assert int(done.stdout) < limit
