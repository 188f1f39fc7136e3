"""The figures of one run: data in, Figure out; nothing is written or shown here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Array = npt.NDArray[Any]
History = Sequence[Mapping[str, float]]
MOST_WEIGHTS = 5000
MOST_COUNTED = 30  # classes whose every count is written into the confusion matrix
LONGEST = 12  # characters of a class's name in a figure


def plot_losses(history: History) -> Figure:
    """The notebook's loss curve: train loss as fit reports it, test loss with the penalty, by epoch."""
    return _plot_curves(history, "loss", "Categorical Crossentropy Loss")


def plot_accuracies(history: History) -> Figure:
    """The same for the accuracy."""
    return _plot_curves(history, "accuracy", "Accuracy")


def _plot_curves(history: History, quantity: str, label: str) -> Figure:
    """Validation in blue and train in red over the epochs, from 1."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    epochs = range(1, len(history) + 1)
    title = quantity.capitalize()
    marker = "o" if len(history) < 3 else ""
    axes.plot(epochs, [m[f"test/{quantity}"] for m in history], "b", marker=marker, label=f"Validation {title}")
    axes.plot(epochs, [m[f"train/{quantity}"] for m in history], "r", marker=marker, ls="--", label=f"Train {title}")
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend()
    axes.grid(True)
    return figure


def plot_weights(kernels: Mapping[str, Array], epoch: int) -> Figure:
    """The notebook's three violins: first hidden layer, second hidden layer and output layer."""
    names = list(kernels)
    chosen = [(names[0], "Hidden Layer 1", "b"), (names[1], "Hidden Layer 2", "r"), (names[-1], "Output Layer", "y")]
    figure = Figure(figsize=(10, 5))  # a layout engine would draw it twice
    figure.subplots_adjust(left=0.06, right=0.99, wspace=0.25)
    figure.suptitle(f"Weights after epoch {epoch}")
    for axes, (name, label, colour) in zip(figure.subplots(1, 3), chosen, strict=True):
        sns.violinplot(y=thin_weights(kernels[name]), color=colour, ax=axes)
        axes.set(title="Trained model Weights" if epoch else "Initial weights", xlabel=f"{label} ({name})")
    return figure


def thin_weights(weights: Array) -> Array:
    """At most 5,000 quantiles, evenly spaced, extremes included: the same shape, drawn in a fraction of the time."""
    ranks = np.linspace(0, len(weights) - 1, min(MOST_WEIGHTS, len(weights))).astype(int)
    quantiles: Array = np.sort(weights)[ranks]
    return quantiles


def plot_all_weights(kernels: Mapping[str, Array], epoch: int) -> Figure:
    """One violin for the kernel of every conv and dense layer, in network order."""
    figure = Figure(figsize=(max(6, 1.3 * len(kernels)), 5), layout="constrained")
    axes = figure.subplots()
    thinned = {name: thin_weights(weights) for name, weights in kernels.items()}
    sns.violinplot(data=thinned, color="C0", ax=axes, density_norm="width", linewidth=0.8)
    axes.set(title=f"Weights of every layer after epoch {epoch}", xlabel="layer", ylabel="weight")
    axes.grid(True, axis="y")
    return figure


def shorten(name: str) -> str:
    """A class's name as a figure has room for it."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def plot_first_image(image: Array, label: str) -> Figure:
    """The first training image, uint8 (H, W) or (H, W, 3), with its class."""
    figure = Figure(figsize=(3, 3.3), layout="constrained")
    axes = figure.subplots()
    axes.imshow(image, cmap="gray")
    axes.set(title=f"first training image: {quote(label)}", xticks=[], yticks=[])
    return figure


def plot_confusion(labels: Array, predicted: Array, classes: Sequence[str]) -> Figure:
    """How many test images of each class were taken for which class."""
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (labels, predicted), 1)
    inches = max(6.5, 0.4 * min(len(classes), MOST_COUNTED))
    short = max(map(len, classes)) == 1
    figure = Figure(figsize=(inches + 0.5, inches), layout=None if short else "constrained")
    if short:
        figure.subplots_adjust(left=0.08, right=0.99, bottom=0.08, top=0.94)
    axes = figure.subplots()
    counted = counts if len(classes) <= MOST_COUNTED else None
    # A logarithmic colour scale, so that ten errors can be seen beside a thousand hits.
    sns.heatmap(np.log1p(counts), annot=counted, fmt="d", cmap="Blues", cbar=False, square=True, ax=axes)
    places = range(0, len(classes), -(-len(classes) // MOST_COUNTED))
    names = [quote(shorten(classes[place])) for place in places]
    middles = [place + 0.5 for place in places]
    axes.set_xticks(middles, names, rotation=0 if short else 90)
    axes.set_yticks(middles, names, rotation=90 if short else 0)
    axes.set(xlabel="predicted", ylabel="true", title=f"{(labels != predicted).sum():,} of {len(labels):,} wrong")
    return figure


def quote(name: str) -> str:
    """A name that Matplotlib takes for no formula."""
    return name.replace("$", r"\$")


def plot_mistakes(
    images: Array, labels: Array, predicted: Array, log_probability: Array, classes: Sequence[str]
) -> Figure:
    """The 25 most wrong test images: misclassified, the least probability for the true class first."""
    wrong = np.flatnonzero(labels != predicted)
    worst = wrong[np.argsort(log_probability[wrong], kind="stable")][:25]
    figure = Figure(figsize=(7, 7.6))
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.92)
    axes = figure.subplots()  # one axes with a cell an image: 25 axes take seconds
    axes.set_title(f"most wrong of {len(wrong):,} errors\n(true, taken for, probability of the true class)")
    axes.axis("off")
    for place, index in enumerate(worst):
        row, column = divmod(place, 5)
        box = (column + 0.1, column + 0.9, row + 1, row + 0.2)
        axes.imshow(images[index], cmap="gray", extent=box, aspect="auto")
        names = ", ".join(quote(shorten(classes[each])) for each in (labels[index], predicted[index]))
        long = len(names) > LONGEST
        caption = f"{names},\n" if long else f"{names}, "
        caption += f"{np.exp(log_probability[index]):.1e}"
        axes.text(column + 0.5, row + 0.16, caption, fontsize=6 if long else 8, ha="center")
    axes.set(xlim=(0, 5), ylim=(5, 0))
    return figure
