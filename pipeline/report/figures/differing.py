"""Two runs on the same test images: what one got right and the other wrong, in words and as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pipeline.analysis.claims.images import Discordance
from pipeline.report.figures.runs import Array, quote, shorten
from pipeline.report.text.numbers import format_p
from pipeline.study.predicted import Predicted

SHOWN = 20  # of each kind
COLUMNS = 10


def say_differing(found: Discordance, names: Sequence[str]) -> list[str]:
    """The four counts, the test, and what it is about."""
    first, second = len(found.first_only), len(found.second_only)
    right = found.images - found.both_wrong - first - second
    return [
        f"Of {found.images:,} test images both got {right:,} right and {found.both_wrong:,} wrong.",
        f"Only {names[0]} got {first} right, only {names[1]} got {second} right.",
        f"McNemar's exact test: p {format_p(found.p)}.",
        "The test is of these two trained networks on such images; it says nothing about other seeds.",
    ]


def plot_differing(
    found: Discordance, names: Sequence[str], predicted: Sequence[Predicted], images: Array, classes: Sequence[str]
) -> Figure:
    """The test images that one run alone got right, the first SHOWN of each kind, with what the other took them for."""
    kinds = ((found.first_only, names[0], predicted[1]), (found.second_only, names[1], predicted[0]))
    figure = Figure(figsize=(8, 4.6))
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.92, hspace=0.25)
    panels = figure.subplots(2, 1)
    for axes, (places, name, other) in zip(panels, kinds, strict=True):
        axes.set_title(f"only {name} got right: {len(places)} (true, taken for)", fontsize=9, loc="left")
        axes.axis("off")
        for place, index in enumerate(np.asarray(places)[:SHOWN]):
            row, column = divmod(place, COLUMNS)
            box = (column + 0.1, column + 0.9, row + 1, row + 0.2)
            axes.imshow(images[index], cmap="gray", extent=box, aspect="auto")
            text = ", ".join(quote(shorten(classes[each])) for each in (other.label[index], other.predicted[index]))
            axes.text(column + 0.5, row + 0.16, text, fontsize=7, ha="center")
        axes.set(xlim=(0, COLUMNS), ylim=(2, 0))
    return figure
