"""Plain text tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.images import MNIST
from pipeline.study.layers import count_parameters, find_misfit
from pipeline.study.variants import TABLE, VARIANTS, Variant

HEADER = ("variant", "called", "counted", "kernel", "features", "head", "regularised", "parameters", "note")
RIGHT_ALIGNED = {"called", "counted", "parameters"}


def list_variants(table: Sequence[Variant] = TABLE) -> str:
    """Every variant on one line: depth called and counted, kernel, layers, regularised, parameters, note.

    The parameters are those for images like MNIST's, a dash where such are too small for the network.
    """
    rows = [HEADER, *(_describe_row(variant) for variant in table)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = zip(HEADER, row, widths, strict=True)
        line = "  ".join(
            f"{cell:>{width}}" if name in RIGHT_ALIGNED else f"{cell:<{width}}" for name, cell, width in cells
        )
        lines.append(line.rstrip())
    return "\n".join(lines)


def _describe_row(variant: Variant) -> tuple[str, ...]:
    """The cells of one variant."""
    return (
        variant.name,
        str(variant.depth_called),
        str(variant.depth_counted),
        f"{variant.kernel}x{variant.kernel}",
        variant.features,
        variant.head,
        "yes" if variant.regularised else "no",
        "-" if find_misfit(variant, MNIST) else f"{count_parameters(variant)[0]:,}",
        variant.note if variant.published else _describe_other(variant),
    )


def _describe_other(variant: Variant) -> str:
    """What a row that is not published is: a control of the study, or a user's own."""
    twin = f", twin of {variant.twin}" if variant.twin else ""
    note = f": {variant.note}" if variant.note else ""
    return f"{'control' if variant.name in VARIANTS else 'own'}{twin}{note}"
