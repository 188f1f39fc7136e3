"""The report's figures as pictures that a page can hold, each with a text that says what it shows."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.analysis.claims.verdict import Verdict
from pipeline.analysis.comparison import Comparison
from pipeline.report.figures.comparison import plot_gap, plot_seeds
from pipeline.report.figures.render import render_svg
from pipeline.report.figures.verdicts import plot_interval, plot_onset, plot_specifications, plot_spread
from pipeline.report.text.lessons import say_specifications
from pipeline.report.text.numbers import is_measured, say_bounds, say_effect
from pipeline.study import metrics
from pipeline.study.facts import Provenance

MOST_VIOLINS = 3 * 2**20  # bytes of all violins in one page
MOST_POINTS = 2000  # of a line; more are drawn as an image within the picture, which would be large
PIXELS_PER_INCH = 96


@dataclass(frozen=True, kw_only=True)
class Illustration:
    """A picture: `source` is a data URI, `width` and `height` are in pixels (0: not known), `finding` stands for it."""

    title: str
    finding: str
    source: str
    width: int = 0
    height: int = 0


def draw_interval(verdict: Verdict) -> Illustration | None:
    """The claim's interval, if it has any."""
    if not is_measured(verdict) or not np.isfinite([verdict.effect, *verdict.interval]).all():
        return None
    bounds = say_bounds(verdict.interval_95, verdict)
    finding = f"{verdict.name} {say_effect(verdict)}, 95 % interval {bounds}, {verdict.word}."
    return embed_figure(plot_interval(verdict), "Effect and interval", finding)


def draw_specifications(comparison: Comparison) -> Iterator[Illustration]:
    """The claims over the grid of choices, if one was tested."""
    if any(each.choices for each in comparison.specifications):
        (finding,) = say_specifications(comparison)
        figure = plot_specifications(comparison.specifications)
        yield embed_figure(figure, "Claims judged again over a fixed grid of choices", finding)


def draw_curves(comparison: Comparison, history: pd.DataFrame) -> Iterator[Illustration]:
    """Curves of loss and accuracy; `history` has the accuracies (run_id, metric, epoch, value)."""
    runs = comparison.runs
    for quantity, points, metric in (
        ("loss", comparison.history, metrics.HONEST_TEST_LOSS.final),
        ("accuracy", history, metrics.TEST_ACCURACY.final),
    ):
        if not points.empty:
            figure = plot_spread(points, runs, quantity)
            yield embed_figure(figure, f"Train and test {quantity} by epoch", _rank_variants(runs, metric))


def draw_spreads(comparison: Comparison) -> Iterator[Illustration]:
    """What the runs end with: every seed, the gap, and the onsets where they were watched."""
    runs, onsets = comparison.runs, comparison.onsets
    accuracy, loss, gap = (m.final for m in (metrics.TEST_ACCURACY, metrics.HONEST_TEST_LOSS, metrics.GAP_HONEST))
    yield embed_figure(plot_seeds(runs, accuracy), "Test accuracy of every seed", _rank_variants(runs, accuracy))
    yield embed_figure(plot_seeds(runs, loss), "Test loss of every seed", _rank_variants(runs, loss))
    yield embed_figure(plot_gap(runs), "Honest gap by depth and kernel", _rank_variants(runs, gap))
    if not onsets.empty:
        seen = int(onsets["onset"].notna().sum())
        finding = f"{seen} of {len(onsets)} runs were seen to begin to overfit; the others not up to their last epoch."
        figure = plot_onset(onsets, comparison.claimed_onset)
        yield embed_figure(figure, "Onset of overfitting of every run", finding)


def draw_violins(runs: Sequence[Provenance]) -> list[Illustration]:
    """The logged violins, in order, as long as the page stays of a size that can be mailed."""
    pictures, left = [], MOST_VIOLINS
    for run in runs:
        if not run.weights or len(run.weights) > left:
            continue
        left -= len(run.weights)
        finding = (
            f"Violins of the weights of {run.variant}, seed {run.settings.seed}, after epoch {run.settings.epochs}: "
            "first hidden layer, second hidden layer and output layer."
        )
        title, source = f"{run.variant}, seed {run.settings.seed}", _write_uri(run.weights, "image/png")
        pictures.append(Illustration(title=title, finding=finding, source=source))
    return pictures


def embed_figure(figure: Figure, title: str, finding: str) -> Illustration:
    """The figure as a vector picture on no ground, so that it fits a light and a dark page."""
    for ground in (figure.patch, *(axes.patch for axes in figure.axes)):
        ground.set_alpha(0)
    for line in (line for axes in figure.axes for line in axes.lines):
        line.set_rasterized(len(np.asarray(line.get_xdata())) > MOST_POINTS)
    width, height = (round(inches * PIXELS_PER_INCH) for inches in figure.get_size_inches())
    source = _write_uri(render_svg(figure), "image/svg+xml")
    return Illustration(title=title, finding=finding, source=source, width=width, height=height)


def _rank_variants(runs: pd.DataFrame, metric: metrics.Metric) -> str:
    """Which variant has the highest mean of a final metric and which the lowest, with their n."""
    measured = runs[np.isfinite(runs[metric])]
    if measured.empty:
        return f"No run has a finite {metric.title}."
    means = measured.groupby("variant", sort=False)[metric].agg(["mean", "size"])
    ranked = means.sort_values("mean", kind="stable").itertuples()
    said = [f"{metrics.format_value(metric, mean)} for {name} (n = {n})" for name, mean, n in ranked]
    ends = said[0] if len(said) == 1 else f"highest {said[-1]}, lowest {said[0]}"
    return f"Mean over seeds at the last epoch of {metric.title}: {ends}."


def _write_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
