"""A whole picture as the images of a set are: their size, their colours, their ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.images import Images
from pipeline.serving.look import look_at
from tests.serving.pictures import save

COLOUR = Images(height=16, width=24, channels=3, classes=("a", "b"))
GREY = Images(height=16, width=24, classes=("a", "b"))


def photograph(shape: tuple[int, ...], edge: int = 200) -> np.ndarray:
    """Light at its edge, or dark, as a photograph may be."""
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    picture[[0, -1]] = picture[:, [0, -1]] = edge
    return picture


@pytest.mark.parametrize("edge", [30, 200])
@pytest.mark.parametrize("images", [COLOUR, GREY], ids=["colour", "grey"])
def test_an_image_of_the_set_is_shown_as_it_is(tmp_path: Path, images: Images, edge: int) -> None:
    image = photograph(images.raw_shape, edge)
    path = save(Image.fromarray(image), tmp_path / "a.png")
    assert np.array_equal(look_at(path, whole=True, ink="none", images=images).seen, image)


def test_a_set_with_a_ground_has_pictures_turned_to_it(tmp_path: Path) -> None:
    image = photograph(GREY.raw_shape)
    path = save(Image.fromarray(image), tmp_path / "a.png")
    assert np.array_equal(look_at(path, whole=True, ink="dark", images=GREY).seen, image)
    assert np.array_equal(look_at(path, whole=True, ink="light", images=GREY).seen, 255 - image)


def test_another_aspect_keeps_all_of_the_picture_on_its_own_edges_colour(tmp_path: Path) -> None:
    square = np.zeros((100, 100, 3), np.uint8)
    square[:] = (250, 20, 90)
    square[30:70, 30:70] = (0, 0, 255)
    look = look_at(save(Image.fromarray(square), tmp_path / "a.png"), whole=True, ink="none", images=COLOUR)
    assert look.seen.shape == (16, 24, 3)
    assert (look.seen[:, :4] == (250, 20, 90)).all()  # beside it
    assert (look.seen[:, -4:] == (250, 20, 90)).all()
    assert look.seen[8, 12].tolist() == [0, 0, 255]
    assert look.draw().mode == "RGB"


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "I;16"])
def test_every_kind_of_picture_has_three_channels_for_a_colour_set(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(photograph(GREY.raw_shape))
    ending = "tif" if mode == "CMYK" else "png"
    picture = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    seen = look_at(save(picture, tmp_path / f"a.{ending}"), whole=True, ink="none", images=COLOUR).seen
    assert seen.shape == (16, 24, 3)
    assert np.abs(seen.astype(int) - np.asarray(grey, int)[..., np.newaxis]).max() <= 3
