"""Labelled images that tests make, the same each time: letters as EMNIST keeps them, and things in colour."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LETTERS = 26
THINGS = ("blue disc", "green disc", "green square", "red square")
COLOURS = {"blue": (40, 60, 220), "green": (30, 170, 60), "red": (210, 40, 50)}


def encode_idx(array: np.ndarray) -> bytes:
    """An array of bytes as MNIST's own files hold it."""
    return struct.pack(f">{array.ndim + 1}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def write_letters(folder: Path, train: int = 10, test: int = 4) -> Path:
    """EMNIST's letters: labels 1 to 26, images turned, gzipped IDX files and the mapping of labels to characters."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for when, number in (("train", train), ("test", test)):
        labels = np.tile(np.arange(1, LETTERS + 1, dtype=np.uint8), number)
        images = np.stack([draw_letter(int(label), rng) for label in labels]).transpose(0, 2, 1)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = folder / f"emnist-letters-{when}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(encode_idx(array), 1))
    lines = [f"{label} {64 + label} {96 + label}" for label in range(1, LETTERS + 1)]
    (folder / "emnist-letters-mapping.txt").write_text("\n".join(lines) + "\n")
    return folder


def draw_letter(label: int, rng: np.random.Generator) -> np.ndarray:
    """A light letter on dark ground, uint8 (28, 28), somewhere in the middle."""
    picture = Image.new("L", (28, 28))
    place = tuple(int(each) for each in rng.integers(4, 8, 2))
    shade = int(rng.integers(150, 256))
    ImageDraw.Draw(picture).text(place, chr(64 + label), fill=shade, font=ImageFont.load_default(18))
    return np.asarray(picture)


def write_things(path: Path, train: int = 240, test: int = 80) -> Path:
    """An .npz file of colour images (N, 32, 32, 3) with names for labels."""
    rng = np.random.default_rng(0)
    arrays = {}
    for when, number in (("train", train), ("test", test)):
        names = [THINGS[place % len(THINGS)] for place in range(number)]
        arrays[f"x_{when}"] = np.stack([draw_thing(name, rng) for name in names])
        arrays[f"y_{when}"] = np.array(names)
    np.savez(path, **arrays)
    return path


def draw_thing(name: str, rng: np.random.Generator) -> np.ndarray:
    """A disc or square of a colour on a ground of noise, uint8 (32, 32, 3)."""
    colour, form = name.split()
    picture = Image.fromarray(rng.integers(60, 200, (32, 32, 3), np.uint8))
    left, top = (int(each) for each in rng.integers(4, 12, 2))
    box = (left, top, left + 15, top + 15)
    pen = ImageDraw.Draw(picture)
    (pen.ellipse if form == "disc" else pen.rectangle)(box, fill=COLOURS[colour])
    return np.asarray(picture)
