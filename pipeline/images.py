"""What the images of a data set are: their size, their colour and their classes. All else that depends on it asks here.

The bounds are those of a study on one machine: small pictures, and as many classes as a table can show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SMALLEST, LARGEST = 8, 256  # pixels of a side
FEWEST_CLASSES, MOST_CLASSES = 2, 1000
LONGEST_NAME = 60
DIGITS = tuple("0123456789")
AUTO, FASHION = "auto", "fashion-mnist"
"""The sets that are known by a name, MNIST first; whatever else `data` says is a path."""
SHAPE, CLASSES, NAMES = "image-shape", "classes", "class-names"
"""The facts of a run that say it: 32x32x3, the number of classes, and (in config.json alone) their names."""
FORM = re.compile(r"([0-9]{1,3})x([0-9]{1,3})x([13])", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Images:
    """Size in pixels, channels (1 grey, 3 red, green and blue), and the name of each class in the order of labels."""

    height: int = 28
    width: int = 28
    channels: int = 1
    classes: tuple[str, ...] = DIGITS

    @property
    def shape(self) -> tuple[int, int, int]:
        """What a network takes, without the batch axis."""
        return self.height, self.width, self.channels

    @property
    def raw_shape(self) -> tuple[int, ...]:
        """One image as pixels of 0 to 255: grey ones have no axis of channels."""
        return self.shape if self.colour else self.shape[:2]

    @property
    def colour(self) -> bool:
        """Whether the images have colours."""
        return self.channels == 3

    @property
    def size(self) -> str:
        """Height and width in words, as 28x28."""
        return f"{self.height}x{self.width}"

    def describe(self) -> dict[str, object]:
        """The facts of a run."""
        return {SHAPE: "x".join(map(str, self.shape)), CLASSES: len(self.classes), NAMES: list(self.classes)}


MNIST = Images()
MNIST_TRAIN = 60_000
"""Its training images."""


def restore_images(facts: Mapping[str, Any]) -> Images:
    """The images that Images.describe described, be they texts; those of earlier versions are as MNIST's are.

    Where the names are not among the facts, the classes are numbered. Raises ValueError for what cannot be.
    """
    if not (said := str(facts.get(SHAPE) or "")):
        return MNIST
    if not is_shape(said) or not is_number(counted := str(facts.get(CLASSES, ""))):
        raise ValueError("it does not say the shape of its images and the number of their classes")
    (height, width, channels), number = map(int, said.split("x")), int(counted)
    names = facts.get(NAMES) or tuple(map(str, range(number)))
    if len(names) != number or not all(isinstance(name, str) and is_name(name) for name in names):
        raise ValueError(f"{number} classes have other names than they can have")
    return Images(height=height, width=width, channels=channels, classes=tuple(names))


def is_shape(text: str) -> bool:
    """Whether images can have this shape, as 32x32x3."""
    found = FORM.fullmatch(text)
    return found is not None and all(SMALLEST <= int(side) <= LARGEST for side in found.groups()[:2])


def is_number(text: str) -> bool:
    """Whether there can be so many classes."""
    return text.isascii() and text.isdecimal() and FEWEST_CLASSES <= int(text[:5]) <= MOST_CLASSES


def is_name(name: str) -> bool:
    """Whether a class can be called so: some printable characters."""
    return 0 < len(name) <= LONGEST_NAME and name.isprintable() and bool(name.strip())
