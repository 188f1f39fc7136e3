"""The figures of one run, and of two on the same images: data in, Figure out; nothing is written or shown here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.study.predicted import Predicted

if TYPE_CHECKING:  # a training compares nothing
    from pipeline.analysis.claims.images import Discordance

Array = npt.NDArray[Any]
History = Sequence[Mapping[str, float]]
STYLES: Sequence[Mapping[str, Any]] = (
    {"color": "b", "ls": "-"},
    {"color": "r", "ls": "--"},
    {"color": "C1", "ls": ":"},
)
MOST_BESIDE = 5  # violins in a row
MOST_WEIGHTS = 5000
MOST_COUNTED = 30  # classes whose every count is written into the confusion matrix
LONGEST = 12  # characters of a class's name in a figure
MOST_DIFFERING = 20  # images of each kind


def plot_losses(history: History, name: str) -> Figure:
    """Both losses by epoch: left as fit reports them, the notebook's figure; right the honest ones. One scale."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    notebook, honest = figure.subplots(1, 2, sharey=True)
    _plot_curves(notebook, history, {"test/loss": "test loss", "train/loss": "train loss"})
    _plot_curves(honest, history, {"honest/test_loss": "test loss", "honest/train_loss": "train loss"})
    notebook.set_title("as fit reports it: dropout on in training, any L2 penalty included", fontsize=10)
    honest.set_title("honest: the epoch's last weights, dropout off, no penalty", fontsize=10)
    notebook.set_ylabel("categorical cross-entropy (nats)")
    figure.suptitle(f"{name}: loss")
    return figure


def plot_accuracies(history: History, name: str) -> Figure:
    """The accuracies by epoch: test, train as fit reports it, and train in evaluation mode."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    labels = {
        "test/accuracy": "test accuracy",
        "train/accuracy": "train accuracy, as fit reports it",
        "honest/train_accuracy": "train accuracy, evaluation mode",
    }
    _plot_curves(axes, history, labels)
    axes.set(ylabel="accuracy", title=f"{name}: accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    return figure


def _plot_curves(axes: Axes, history: History, labels: Mapping[str, str]) -> None:
    """Up to three metrics with their labels over the epochs, from 1; test in blue and train in red, as the notebook."""
    epochs = range(1, len(history) + 1)
    marker = "o" if len(history) < 3 else ""
    for (metric, label), style in zip(labels.items(), STYLES, strict=False):
        axes.plot(epochs, [point[metric] for point in history], marker=marker, label=label, **style)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend()
    axes.grid(True, alpha=0.4)


def plot_weights(kernels: Mapping[str, Array], epoch: int, name: str) -> Figure:
    """The notebook's three violins: first hidden layer, second hidden layer and output layer, to their extremes."""
    names = list(kernels)
    chosen = [(names[0], "Hidden Layer 1", "b"), (names[1], "Hidden Layer 2", "r"), (names[-1], "Output Layer", "y")]
    figure = Figure(figsize=(10, 5))  # a layout engine would draw it twice
    figure.subplots_adjust(left=0.07, right=0.99, top=0.86, bottom=0.06, wspace=0.25)
    figure.suptitle(f"{name}: {_say_moment(epoch)}, each layer on its own scale")
    panels = figure.subplots(1, 3)
    for axes, (layer, label, colour) in zip(panels, chosen, strict=True):
        sns.violinplot(y=thin_weights(kernels[layer]), color=colour, cut=0, ax=axes)
        axes.set(title=f"{label} ({layer})", ylabel="", xticks=[])
    panels[0].set_ylabel("weight")
    return figure


def _say_moment(epoch: int) -> str:
    return f"weights after epoch {epoch}" if epoch else "initial weights"


def thin_weights(weights: Array) -> Array:
    """At most 5,000 quantiles, evenly spaced, extremes included: the same shape, drawn in a fraction of the time."""
    ranks = np.linspace(0, len(weights) - 1, min(MOST_WEIGHTS, len(weights))).astype(int)
    quantiles: Array = np.sort(weights)[ranks]
    return quantiles


def plot_all_weights(kernels: Mapping[str, Array], epoch: int, name: str) -> Figure:
    """One violin for the kernel of every conv and dense layer, in network order, each on its own scale."""
    columns = min(len(kernels), MOST_BESIDE)
    rows = -(-len(kernels) // columns)
    figure = Figure(figsize=(max(6, 1.9 * columns), 0.6 + 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes, (layer, weights) in zip(panels.flat, kernels.items(), strict=False):
        sns.violinplot(y=thin_weights(weights), color="C0", cut=0, linewidth=0.8, ax=axes)
        axes.set(title=layer, ylabel="", xticks=[])
        axes.tick_params(labelsize=8)
        axes.grid(True, axis="y", alpha=0.4)
    for axes in panels.flat[len(kernels) :]:
        axes.remove()
    for axes in panels[:, 0]:
        axes.set_ylabel("weight")
    figure.suptitle(f"{name}: {_say_moment(epoch)}, every layer on its own scale")
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


def plot_confusion(labels: Array, predicted: Array, classes: Sequence[str], name: str) -> Figure:
    """How many test images of each class were taken for which class; nothing is written where there are none."""
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (labels, predicted), 1)
    inches = max(6.5, 0.4 * min(len(classes), MOST_COUNTED))
    short = max(map(len, classes)) == 1
    figure = Figure(figsize=(inches + 0.5, inches), layout=None if short else "constrained")
    if short:
        figure.subplots_adjust(left=0.08, right=0.99, bottom=0.08, top=0.9)
    axes = figure.subplots()
    counted = np.where(counts, counts.astype(str), "") if len(classes) <= MOST_COUNTED else None
    # A logarithmic colour scale, so that ten errors can be seen beside a thousand hits.
    sns.heatmap(np.log1p(counts), annot=counted, fmt="", cmap="Blues", cbar=False, square=True, ax=axes)
    places = range(0, len(classes), -(-len(classes) // MOST_COUNTED))
    names = [quote(shorten(classes[place])) for place in places]
    middles = [place + 0.5 for place in places]
    axes.set_xticks(middles, names, rotation=0 if short else 90)
    axes.set_yticks(middles, names, rotation=0)
    wrong = f"{name}: {(labels != predicted).sum():,} of {len(labels):,} test images wrong"
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(f"{wrong}\nnumber of images, colour on a log scale", fontsize=11)
    return figure


def quote(name: str) -> str:
    """A name that Matplotlib takes for no formula."""
    return name.replace("$", r"\$")


def plot_mistakes(images: Array, said: Predicted, classes: Sequence[str], name: str) -> Figure:
    """The 25 most wrong test images: misclassified, the least probability for the true class first."""
    wrong = np.flatnonzero(said.label != said.predicted)
    worst = wrong[np.argsort(said.log_probability[wrong], kind="stable")][:25]
    figure = Figure(figsize=(7, 7.6))
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.92)
    axes = figure.subplots()
    title = f"{name}: the most wrong of {len(wrong):,} errors\ntrue → taken for (probability of the true class)"
    axes.set_title(title, fontsize=11)
    captions = []
    for index in worst:
        names = _name_both(said, index, classes)
        long = len("".join(names)) > LONGEST
        probability = _say_probability(np.exp(said.log_probability[index]))
        captions.append((f"{' → '.join(names)}{chr(10) if long else ' '}({probability})", 6 if long else 8))
    _show_images(axes, images[worst], captions, (5, 5))
    return figure


def plot_differing(
    found: Discordance, names: Sequence[str], predicted: Sequence[Predicted], images: Array, classes: Sequence[str]
) -> Figure:
    """The test images that one run alone got right, the first of each kind, with what the other took them for."""
    kinds = ((found.first_only, names[0], predicted[1]), (found.second_only, names[1], predicted[0]))
    figure = Figure(figsize=(8, 4.6))
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.92, hspace=0.25)
    for axes, (places, name, other) in zip(figure.subplots(2, 1), kinds, strict=True):
        axes.set_title(f"only {name} got right: {len(places)} (true, taken for)", fontsize=9, loc="left")
        shown = places[:MOST_DIFFERING]
        captions = [(", ".join(_name_both(other, index, classes)), 7) for index in shown]
        _show_images(axes, images[shown], captions, (2, 10))
    return figure


def _name_both(said: Predicted, index: int, classes: Sequence[str]) -> list[str]:
    """The true class of an image, and the one that it was taken for."""
    return [quote(shorten(classes[each])) for each in (said.label[index], said.predicted[index])]


def _show_images(axes: Axes, images: Array, captions: Sequence[tuple[str, int]], shape: tuple[int, int]) -> None:
    """Images in rows and columns, each with its text (of a size) above; on one axes, as one for each takes seconds."""
    rows, columns = shape
    axes.axis("off")
    for place, (image, (text, size)) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(place, columns)
        box = (column + 0.1, column + 0.9, row + 1, row + 0.2)
        axes.imshow(image, cmap="gray", extent=box, aspect="auto")
        axes.text(column + 0.5, row + 0.16, text, fontsize=size, ha="center")
    axes.set(xlim=(0, columns), ylim=(rows, 0))


def _say_probability(probability: float) -> str:
    return "< 0.1 %" if probability < 0.001 else f"{100 * probability:.{1 if probability < 0.0095 else 0}f} %"
