from __future__ import annotations

import numpy as np

from pipeline.analysis.claims.images import compare_images
from pipeline.images import DIGITS
from pipeline.report.figures.render import render_png
from pipeline.report.figures.runs import plot_differing
from pipeline.report.text.lessons import say_differing
from tests.analysis.test_images import predict


def test_images_that_differ_are_counted_and_drawn():
    first, second = np.zeros((2, 100), dtype=bool)
    first[:5], second[3:33] = True, True
    predicted = predict(first), predict(second)
    found = compare_images(*predicted)
    lines = say_differing(found, ("a", "b"))
    assert lines[0] == "Of 100 test images both got 67 right and 2 wrong."
    assert lines[1] == "Only a got 28 right, only b got 3 right."
    assert lines[2] == "McNemar's exact test: p < 0.001."
    figure = plot_differing(found, ("a", "b"), predicted, np.zeros((100, 28, 28), dtype=np.uint8), DIGITS)
    assert [len(axes.images) for axes in figure.axes] == [20, 3]
    assert [axes.get_title("left") for axes in figure.axes] == [
        "only a got right: 28 (true, taken for)",
        "only b got right: 3 (true, taken for)",
    ]
    assert render_png(figure).startswith(b"\x89PNG")
