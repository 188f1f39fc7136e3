"""The study's networks as a table of data: 14 published variants and 5 controls.

Layer sequences use VGG notation: a number is a Conv2D (in `features`) or a Dense layer (in `head`) of that width with
ReLU, M a 2x2 max pooling, D a dropout of 0.5, B a batch normalisation. Every network ends in Dense(classes, softmax).
Source: the 2019 notebook "Assignment 13 - CNN - MNIST"; its published figures are in published.csv.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.errors import UnknownVariant

DROPOUT_RATE = 0.5
L2_STRENGTH = 1e-5
LEARNING_RATE = 0.001


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of the study's table: one network.

    `depth_called` is the depth that the study names, `depth_counted` what its code builds. `regularised` rows have
    L2 and he_normal on every conv and hidden dense kernel. `twin` differs from this row in the regularisation alone.
    `pool_padding` is one word for all poolings, or one word for each.
    """

    name: str
    depth_called: int
    kernel: int
    features: str
    head: str
    conv_padding: str = "valid"
    pool_padding: str = "valid"
    regularised: bool = False
    twin: str | None = None
    published: bool = True
    note: str = ""

    @property
    def filters(self) -> tuple[int, ...]:
        """Widths of the Conv2D layers, in order."""
        return tuple(int(token) for token in self.features.split() if token.isdigit())

    @property
    def depth_counted(self) -> int:
        """Number of Conv2D layers that the network really has."""
        return len(self.filters)

    @property
    def dropout(self) -> bool:
        """Whether the network really has a dropout layer, in whatever place."""
        return "D" in self.features.split() + self.head.split()

    @property
    def batch_norm(self) -> bool:
        """Whether the network really has a batch normalisation."""
        return "B" in self.head.split()

    @property
    def l2(self) -> float:
        """L2 strength on every conv and hidden dense kernel; 0 where there is none."""
        return L2_STRENGTH if self.regularised else 0.0


PLAIN = "128 64"
REGULARISED = "128 B D 64 B D"
MISCOUNTED = "called 3 convs, its code builds 5, the 4th pooling unpadded; no twin"
MISLABELLED = "labelled without dropout and batch norm, its head has both; no twin"

# fmt: off
TABLE = (
    Variant(name="conv2_3x3", depth_called=2, kernel=3, features="32 M 64 M", head=PLAIN, twin="conv2_3x3_reg"),
    Variant(name="conv2_5x5", depth_called=2, kernel=5, features="32 M 64 M", head=PLAIN, twin="conv2_5x5_reg"),
    Variant(name="conv2_3x3_reg", depth_called=2, kernel=3, features="32 M D 64 M D", head=REGULARISED,
            regularised=True, twin="conv2_3x3"),
    Variant(name="conv2_5x5_reg", depth_called=2, kernel=5, features="32 M D 64 M D", head=REGULARISED,
            regularised=True, twin="conv2_5x5"),
    Variant(name="conv3_3x3", depth_called=3, kernel=3, features="32 M 64 M 32 M", head=PLAIN, twin="conv3_3x3_reg"),
    Variant(name="conv3_5x5", depth_called=3, kernel=5, features="32 M 64 M 32 M", head=PLAIN, conv_padding="same",
            twin="conv3_5x5_reg_matched"),
    Variant(name="conv3_3x3_reg", depth_called=3, kernel=3, features="32 M D 64 M D 32 M D", head=REGULARISED,
            regularised=True, twin="conv3_3x3"),
    Variant(name="conv3_5x5_reg", depth_called=3, kernel=5, features="32 M D 64 M D 32 M D 32 M D 32 M D",
            head=REGULARISED, conv_padding="same", pool_padding="same same same valid same", regularised=True,
            note=MISCOUNTED),
    Variant(name="conv5_3x3", depth_called=5, kernel=3, features="32 M 64 M 64 M 64 M 32 M", head=REGULARISED,
            conv_padding="same", pool_padding="same", note=MISLABELLED),
    Variant(name="conv5_5x5", depth_called=5, kernel=5, features="32 M 64 M 64 M 64 M 32 M", head=REGULARISED,
            conv_padding="same", pool_padding="same", note=MISLABELLED),
    Variant(name="conv5_3x3_reg", depth_called=5, kernel=3, features="32 M D 64 M D 64 M D 64 M D 32 M D",
            head=REGULARISED, conv_padding="same", pool_padding="same", regularised=True, twin="conv5_3x3_plain"),
    Variant(name="conv5_5x5_reg", depth_called=5, kernel=5, features="32 M D 64 M D 64 M D 64 M D 32 M D",
            head=REGULARISED, conv_padding="same", pool_padding="same", regularised=True, twin="conv5_5x5_plain"),
    Variant(name="conv7_3x3", depth_called=7, kernel=3, features="32 D 64 D 64 M D 64 D 64 D 32 D M 32 D",
            head=REGULARISED, conv_padding="same", pool_padding="same", regularised=True, twin="conv7_3x3_plain"),
    Variant(name="conv7_5x5", depth_called=7, kernel=5, features="32 D 64 D 64 M D 64 D 64 D 32 D M 32 D",
            head=REGULARISED, conv_padding="same", pool_padding="same", regularised=True, twin="conv7_5x5_plain"),
    Variant(name="conv3_5x5_reg_matched", depth_called=3, kernel=5, features="32 M D 64 M D 32 M D", head=REGULARISED,
            conv_padding="same", regularised=True, twin="conv3_5x5", published=False),
    Variant(name="conv5_3x3_plain", depth_called=5, kernel=3, features="32 M 64 M 64 M 64 M 32 M", head=PLAIN,
            conv_padding="same", pool_padding="same", twin="conv5_3x3_reg", published=False),
    Variant(name="conv5_5x5_plain", depth_called=5, kernel=5, features="32 M 64 M 64 M 64 M 32 M", head=PLAIN,
            conv_padding="same", pool_padding="same", twin="conv5_5x5_reg", published=False),
    Variant(name="conv7_3x3_plain", depth_called=7, kernel=3, features="32 64 64 M 64 64 32 M 32", head=PLAIN,
            conv_padding="same", pool_padding="same", twin="conv7_3x3", published=False),
    Variant(name="conv7_5x5_plain", depth_called=7, kernel=5, features="32 64 64 M 64 64 32 M 32", head=PLAIN,
            conv_padding="same", pool_padding="same", twin="conv7_5x5", published=False),
)
# fmt: on

Variants = Mapping[str, Variant]
"""Rows by name: the study's own table, or that with the rows of a user's file behind it (study.custom)."""

VARIANTS: Variants = MappingProxyType({variant.name: variant for variant in TABLE})
"""Every variant by name, the 14 published ones first, in the order of the study's table."""


def find_variant(name: str, variants: Variants = VARIANTS) -> Variant:
    """The row called `name`; raises UnknownVariant with the names to choose from."""
    if name in variants:
        return variants[name]
    close = difflib.get_close_matches(name, variants, n=1)
    raise UnknownVariant(name, choices=list(variants), suggestion=close[0] if close else None)


def published_variants() -> tuple[Variant, ...]:
    """The 14 rows of the study's own table, in its order."""
    return tuple(variant for variant in TABLE if variant.published)


def matched_twins(variants: Variants, names: Collection[str]) -> tuple[tuple[Variant, Variant], ...]:
    """(plain, regularised) pairs of the named rows that differ in regularisation alone, in the plain row's order."""
    rows = {name: row for name, row in variants.items() if name in names}
    return tuple(
        (row, rows[row.twin]) for row in rows.values() if row.twin and row.twin in rows and not row.regularised
    )
