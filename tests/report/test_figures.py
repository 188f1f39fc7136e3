from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from pipeline.images import DIGITS
from pipeline.report.figures import runs as figures

HISTORY = [
    {"train/loss": 0.5, "test/loss": 0.3, "train/accuracy": 0.8, "test/accuracy": 0.9},
    {"train/loss": 0.2, "test/loss": 0.25, "train/accuracy": 0.95, "test/accuracy": 0.93},
]
KERNELS = {
    "conv1": np.linspace(-1, 1, 300),
    "conv2": np.linspace(-2, 2, 300),
    "dense1": np.linspace(-3, 3, 300),
    "output": np.linspace(-4, 4, 300),
}


def test_the_loss_curve_is_the_notebooks() -> None:
    (axes,) = figures.plot_losses(HISTORY).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "Categorical Crossentropy Loss")
    validation, train = axes.lines
    assert (validation.get_label(), to_rgb(validation.get_color())) == ("Validation Loss", to_rgb("b"))
    assert (train.get_label(), to_rgb(train.get_color())) == ("Train Loss", to_rgb("r"))
    assert list(validation.get_xdata()) == [1, 2]
    assert list(validation.get_ydata()) == [0.3, 0.25]
    assert list(train.get_ydata()) == [0.5, 0.2]
    assert axes.get_legend() is not None
    assert axes.xaxis.get_gridlines()[0].get_visible()


def test_the_accuracy_curve_shows_accuracies() -> None:
    (axes,) = figures.plot_accuracies(HISTORY).axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.9, 0.93], [0.8, 0.95]]


def test_the_three_violins_are_the_first_second_and_output_layer() -> None:
    figure = figures.plot_weights(KERNELS, epoch=3)
    assert figure.get_size_inches().tolist() == [10, 5]
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["Hidden Layer 1 (conv1)", "Hidden Layer 2 (conv2)", "Output Layer (output)"]
    assert {axes.get_title() for axes in figure.axes} == {"Trained model Weights"}
    for axes, colour, reach in zip(figure.axes, "bry", (1, 2, 4), strict=True):
        face = axes.collections[0].get_facecolor()[0][:3]  # seaborn draws a little less saturated
        assert np.abs(face - to_rgb(colour)).max() < 0.15
        drawn = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert reach <= drawn.max() < 2 * reach


def test_every_layer_has_its_violin() -> None:
    (axes,) = figures.plot_all_weights(KERNELS, epoch=3).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == list(KERNELS)
    assert len(axes.collections) == 4


def test_thinning_keeps_extremes_and_shape() -> None:
    weights = np.random.default_rng(0).normal(size=100_000)
    thin = figures.thin_weights(weights)
    assert len(thin) == 5000
    assert (thin.min(), thin.max()) == (weights.min(), weights.max())
    assert thin.std() == pytest.approx(weights.std(), rel=0.01)
    assert len(figures.thin_weights(weights[:100])) == 100


def test_the_confusion_matrix_counts_true_by_predicted() -> None:
    labels, predicted = np.array([3, 3, 3, 8]), np.array([3, 3, 5, 8])
    (axes,) = figures.plot_confusion(labels, predicted, DIGITS).axes
    texts = [text.get_text() for text in axes.texts]
    assert len(texts) == 100
    assert (texts[33], texts[35], texts[53], texts[88]) == ("2", "1", "0", "1")
    assert axes.get_title() == "1 of 4 wrong"


def test_mistakes_are_errors_alone_with_the_worst_first() -> None:
    images = np.zeros((4, 28, 28), np.uint8)
    labels, predicted = np.array([1, 2, 3, 4], np.uint8), np.array([1, 7, 8, 9], np.uint8)
    log_probability = np.log(np.array([1e-9, 0.1, 0.001, 0.01]))
    (axes,) = figures.plot_mistakes(images, labels, predicted, log_probability, DIGITS).axes
    assert [text.get_text() for text in axes.texts] == ["3, 8, 1.0e-03", "4, 9, 1.0e-02", "2, 7, 1.0e-01"]
    assert len(axes.images) == 3


def test_a_perfect_network_has_no_mistakes_to_draw() -> None:
    labels = np.arange(10, dtype=np.uint8)
    (axes,) = figures.plot_mistakes(np.zeros((10, 28, 28), np.uint8), labels, labels, np.zeros(10), DIGITS).axes
    assert len(axes.images) == 0
