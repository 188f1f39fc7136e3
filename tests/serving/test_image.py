"""Whatever the file is like, and however the digit lies on its paper, the network sees the same digit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.serving.image import BOX, CENTRE, SIDE
from pipeline.serving.look import look_at
from tests.serving.pictures import draw, load_test_digits, save

DIGIT = load_test_digits(1)[0]


def see(path: Path) -> np.ndarray:
    """What the network sees of a picture file."""
    return look_at(path, whole=False).seen


def differ(first: np.ndarray, second: np.ndarray) -> float:
    """Mean absolute difference of two digits, of 255."""
    return float(np.abs(first.astype(int) - second).mean())


def to_palette(picture: Image.Image) -> Image.Image:
    return picture.convert("RGB").quantize(16)


def to_sixteen_bits(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)


def to_ink_on_glass(picture: Image.Image) -> Image.Image:
    """Black ink, everything else transparent (and black too, which must not show)."""
    glass = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    glass.putalpha(picture)
    return glass


def to_chalk_on_glass(picture: Image.Image) -> Image.Image:
    glass = Image.new("RGBA", picture.size, (255, 255, 255, 0))
    glass.putalpha(picture)
    return glass


def to_round_corners(picture: Image.Image) -> Image.Image:
    """A black card with transparent corners."""
    card = picture.convert("RGBA")
    for corner in ((0, 0), (card.width - 1, 0), (0, card.height - 1)):
        card.putpixel(corner, (255, 255, 255, 0))
    return card


MODES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "grey": lambda picture: picture,
    "grey, inverted": ImageOps.invert,
    "RGB": lambda picture: picture.convert("RGB"),
    "RGBA": lambda picture: picture.convert("RGBA"),
    "grey with alpha": lambda picture: picture.convert("LA"),
    "palette": to_palette,
    "16 bit": to_sixteen_bits,
    "16 bit, inverted": lambda picture: to_sixteen_bits(ImageOps.invert(picture)),
    "ink on glass": to_ink_on_glass,
    "chalk on glass": to_chalk_on_glass,
    "round corners": to_round_corners,
    "faint": lambda picture: picture.point(lambda value: 90 + value // 4),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_shows_the_same_digit(tmp_path: Path, mode: str) -> None:
    plain = see(save(draw(DIGIT, 112, 30), tmp_path / "plain.png"))
    other = see(save(MODES[mode](draw(DIGIT, 112, 30)), tmp_path / "other.png"))
    assert differ(plain, DIGIT) < 12  # another place would give more than 30
    assert differ(other, plain) < 4


def test_a_bilevel_picture_is_read(tmp_path: Path) -> None:
    picture = draw(DIGIT, 224, 10).point(lambda value: 255 * (value > 127)).convert("1")
    assert differ(see(save(picture, tmp_path / "1.png")), DIGIT) < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    upright = draw(DIGIT, 112, 30, dark_on_light=True)
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turned[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    upright.save(tmp_path / "upright.png")
    assert differ(see(tmp_path / "photo.jpg"), see(tmp_path / "upright.png")) < 3


@pytest.mark.parametrize("size", [(3, 3), (60, 60), (500, 40), (1500, 1500)])
def test_a_digit_fits_the_box_and_is_centred_by_its_mass(tmp_path: Path, size: tuple[int, int]) -> None:
    """A bar of any size, in the corner of a larger sheet."""
    sheet = np.full((size[0] * 2, size[1] * 3), 255, np.uint8)
    sheet[1 : 1 + size[0], 1 : 1 + size[1]] = 0
    digit = see(save(Image.fromarray(sheet), tmp_path / "bar.png"))
    assert digit.shape == (SIDE, SIDE)
    rows, columns = np.flatnonzero(digit.any(axis=1)), np.flatnonzero(digit.any(axis=0))
    height, width = len(rows), len(columns)
    assert max(height, width) == BOX
    assert width == max(1, round(BOX * size[1] / max(size)))
    mass = digit / digit.sum()
    assert abs(mass.sum(axis=1) @ np.arange(SIDE) - CENTRE) <= 0.5 + 1e-6
    assert abs(mass.sum(axis=0) @ np.arange(SIDE) - CENTRE) <= 0.5 + 1e-6


def test_noise_of_the_paper_is_no_ink(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 6, (142, 172))
    noisy = np.clip(np.asarray(draw(DIGIT, 112, 30, dark_on_light=True)) * 0.8 + 30 + noise, 0, 255).astype(np.uint8)
    assert differ(see(save(Image.fromarray(noisy), tmp_path / "noisy.png")), DIGIT) < 12
