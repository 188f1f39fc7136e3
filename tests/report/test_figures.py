from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from pipeline.images import DIGITS
from pipeline.report.figures import runs as figures
from pipeline.report.figures.render import render_files
from pipeline.study.predicted import Predicted

NAME = "conv2_3x3, seed 1"
METRICS = ("train/loss", "test/loss", "honest/train_loss", "honest/test_loss")
ACCURACIES = ("train/accuracy", "test/accuracy", "honest/train_accuracy")
HISTORY = [
    dict(zip(METRICS + ACCURACIES, (0.5, 0.3, 0.4, 0.29, 0.8, 0.9, 0.85), strict=True)),
    dict(zip(METRICS + ACCURACIES, (0.2, 0.25, 0.15, 0.24, 0.95, 0.93, 0.96), strict=True)),
]
KERNELS = {
    "conv1": np.linspace(-1, 1, 300),
    "conv2": np.linspace(-2, 2, 300),
    "dense1": np.linspace(-3, 3, 300),
    "output": np.linspace(-4, 4, 300),
}


def test_the_losses_are_drawn_as_the_notebook_has_them_and_honestly_beside() -> None:
    figure = figures.plot_losses(HISTORY, NAME)
    notebook, honest = figure.axes
    assert figure.get_suptitle() == f"{NAME}: loss"
    assert (notebook.get_xlabel(), notebook.get_ylabel()) == ("epoch", "categorical cross-entropy (nats)")
    assert notebook.get_ylim() == honest.get_ylim()
    for axes, prefix in ((notebook, ("test/", "train/")), (honest, ("honest/test_", "honest/train_"))):
        test, train = axes.lines
        assert (test.get_label(), to_rgb(test.get_color())) == ("test loss", to_rgb("b"))
        assert (train.get_label(), to_rgb(train.get_color())) == ("train loss", to_rgb("r"))
        assert list(test.get_xdata()) == [1, 2]
        assert [list(line.get_ydata()) for line in axes.lines] == [
            [point[f"{start}loss"] for point in HISTORY] for start in prefix
        ]
        assert axes.get_legend() is not None
        assert axes.xaxis.get_gridlines()[0].get_visible()


def test_the_accuracy_curve_shows_accuracies() -> None:
    (axes,) = figures.plot_accuracies(HISTORY, NAME).axes
    assert axes.get_title() == f"{NAME}: accuracy"
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.9, 0.93], [0.8, 0.95], [0.85, 0.96]]
    assert all("alidation" not in line.get_label() for line in axes.lines)


def test_the_three_violins_are_the_first_second_and_output_layer() -> None:
    figure = figures.plot_weights(KERNELS, 3, NAME)
    assert figure.get_size_inches().tolist() == [10, 5]
    assert figure.get_suptitle() == f"{NAME}: weights after epoch 3, each layer on its own scale"
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["Hidden Layer 1 (conv1)", "Hidden Layer 2 (conv2)", "Output Layer (output)"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["weight", "", ""]
    for axes, colour, reach in zip(figure.axes, "bry", (1, 2, 4), strict=True):
        face = axes.collections[0].get_facecolor()[0][:3]  # seaborn draws a little less saturated
        assert np.abs(face - to_rgb(colour)).max() < 0.15
        drawn = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert drawn.max() == pytest.approx(reach), "a violin ends at the last weight"
    assert "initial weights" in figures.plot_weights(KERNELS, 0, NAME).get_suptitle()


def test_every_layer_has_its_violin_with_room_and_a_scale_of_its_own() -> None:
    kernels = {f"conv{place}": np.linspace(-place, place, 300) for place in range(1, 8)}
    figure = figures.plot_all_weights(kernels, 3, NAME)
    assert NAME in figure.get_suptitle()
    assert [axes.get_title() for axes in figure.axes] == list(kernels)
    for reach, axes in enumerate(figure.axes, start=1):
        assert axes.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(reach)
        assert reach < axes.get_ylim()[1] < 1.2 * reach
    assert len({axes.get_position().y0 for axes in figure.axes}) == 2, "five in a row"


def test_thinning_keeps_extremes_and_shape() -> None:
    weights = np.random.default_rng(0).normal(size=100_000)
    thin = figures.thin_weights(weights)
    assert len(thin) == 5000
    assert (thin.min(), thin.max()) == (weights.min(), weights.max())
    assert thin.std() == pytest.approx(weights.std(), rel=0.01)
    assert len(figures.thin_weights(weights[:100])) == 100


def test_the_confusion_matrix_counts_true_by_predicted_and_writes_no_zero() -> None:
    labels, predicted = np.array([3, 3, 3, 8]), np.array([3, 3, 5, 8])
    (axes,) = figures.plot_confusion(labels, predicted, DIGITS, NAME).axes
    texts = [text.get_text() for text in axes.texts]
    assert len(texts) == 100
    assert (texts[33], texts[35], texts[53], texts[88]) == ("2", "1", "", "1")
    assert axes.get_title() == f"{NAME}: 1 of 4 test images wrong\nnumber of images, colour on a log scale"


def say(labels: list[int], predicted: list[int], probability: list[float]) -> Predicted:
    log_probability = np.log(np.array(probability, np.float32))
    return Predicted(
        label=np.array(labels, np.uint8), predicted=np.array(predicted, np.uint8), log_probability=log_probability
    )


def test_mistakes_are_errors_alone_with_the_worst_first() -> None:
    said = say([1, 2, 3, 4, 5], [1, 7, 8, 9, 6], [1e-9, 0.084, 0.0001, 0.004, 0.0099])
    (axes,) = figures.plot_mistakes(np.zeros((5, 28, 28), np.uint8), said, DIGITS, NAME).axes
    shown = [text.get_text() for text in axes.texts]
    assert shown == ["3 → 8 (< 0.1 %)", "4 → 9 (0.4 %)", "5 → 6 (1 %)", "2 → 7 (8 %)"]
    assert axes.get_title().startswith(f"{NAME}: the most wrong of 4 errors\ntrue → taken for")
    assert len(axes.images) == 4


def test_a_perfect_network_has_no_mistakes_to_draw() -> None:
    said = say([*range(10)], [*range(10)], [1.0] * 10)
    (axes,) = figures.plot_mistakes(np.zeros((10, 28, 28), np.uint8), said, DIGITS, NAME).axes
    assert len(axes.images) == 0


def test_a_runs_figures_are_fit_for_print_and_the_same_bytes_each_time() -> None:
    first, again = (dict(render_files([("loss", figures.plot_losses(HISTORY, NAME))])) for _ in range(2))
    assert list(first) == ["loss.png", "loss.svg"]
    assert Image.open(io.BytesIO(first["loss.png"])).size == (2000, 900)
    assert first == again
