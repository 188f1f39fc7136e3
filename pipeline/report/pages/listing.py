"""The study's table of variants as plain text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.images import MNIST
from pipeline.study.layers import count_parameters, find_misfit
from pipeline.study.variants import VARIANTS, Variant

HEADER = ("variant", "called", "counted", "kernel", "features", "head", "regularised", "parameters", "note")
ALIGNED = "<>><<<<><"


def list_variants(table: Sequence[Variant]) -> str:
    """Every variant on one line: depth called and counted, kernel, layers, regularised, parameters, note.

    The parameters are those for images like MNIST's, a dash where such are too small for the network.
    """
    rows = [HEADER, *map(_describe_row, table)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    form = "  ".join(f"{{:{side}{width}}}" for side, width in zip(ALIGNED, widths, strict=True))
    return "\n".join(form.format(*row).rstrip() for row in rows)


def _describe_row(variant: Variant) -> tuple[str, ...]:
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
