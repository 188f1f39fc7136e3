"""Figures of the report alone: the claims' intervals, and curves with the spread over seeds. Data in, a Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.analysis.claims.contrasts import find_null
from pipeline.analysis.claims.specification import Specification
from pipeline.analysis.claims.verdict import Verdict
from pipeline.errors import AnalysisError
from pipeline.report.figures.comparison import BLUE, GREY, ORANGE, VERMILLION, Style, order_variants
from pipeline.report.figures.layout import (
    finish_figure,
    label_panels,
    open_figure,
    open_panels,
    settle_figure,
    use_log_scale,
)
from pipeline.report.text.numbers import format_effect, say_unit
from pipeline.study.metrics import HONEST_TEST_LOSS, HONEST_TRAIN_LOSS, TEST_ACCURACY, TRAIN_ACCURACY

QUANTITIES: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "loss": (HONEST_TRAIN_LOSS, HONEST_TEST_LOSS, "cross-entropy, evaluation mode (nats, log scale)"),
        "accuracy": (TRAIN_ACCURACY, TEST_ACCURACY, "accuracy"),
    }
)
"""What can be drawn by epoch: its train metric, its test metric, its axis."""
COLUMNS = 4
STYLES: tuple[Style, ...] = (
    {"color": VERMILLION, "ls": "--", "lw": 1.3},
    {"color": BLUE, "ls": "-", "lw": 1.3},
)


def plot_spread(history: pd.DataFrame, runs: pd.DataFrame, quantity: str, *, caption: str = "") -> Figure:
    """Train and test curves, a panel a variant: the mean over its seeds as a line, lowest to highest seed as a band.

    `history` has run_id, metric, epoch and value, of `runs` or more. Raises AnalysisError without a run, or for a
    quantity other than loss or accuracy.
    """
    if quantity not in QUANTITIES:
        raise AnalysisError(f'"{quantity}" is not a quantity by epoch; choose one of {", ".join(QUANTITIES)}')
    variants = order_variants(runs)
    *metrics, label = QUANTITIES[quantity]
    figure, body, panels = open_panels(len(variants), COLUMNS, 2.4, caption)
    if quantity == "loss":
        use_log_scale(panels[0])
    points = history[history["metric"].isin(metrics)]
    for axes, variant in zip(panels, variants, strict=True):
        own = points[points["run_id"].isin(runs.loc[runs["variant"] == variant, "run_id"])]
        for metric, style in zip(metrics, STYLES, strict=True):
            _draw_band(axes, own[own["metric"] == metric], style)
        axes.set_title(f"{variant} (n = {own['run_id'].nunique()})", fontsize=8)
    label_panels(body, label)
    if quantity == "accuracy":
        panels[0].yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    handles = [Line2D([], [], **style, label=name) for style, name in zip(STYLES, ("train", "test"), strict=True)]
    title = f"Train and test {quantity}: mean and range over seeds"
    return finish_figure(figure, title, handles)


def plot_interval(verdict: Verdict) -> Figure:
    """A claim's effect and 95 % interval with what it is held against and its margin; below it that of each twin.

    Small, to stand beside the claim's text, so without title and legend.
    """
    figure = Figure(figsize=(3.6, 0.9 + 0.24 * len(verdict.by_twin)), layout="constrained")
    axes = figure.subplots()
    _draw_interval(axes, verdict)
    return settle_figure(figure)


def plot_specifications(specifications: Sequence[Specification], *, caption: str = "") -> Figure:
    """Each claim's effect and interval over its grid of choices, sorted by effect, a panel a claim.

    Choices with which the claim keeps its verdict are blue, others vermillion. Raises AnalysisError without a claim.
    """
    drawn = [each for each in specifications if each.choices]
    if not drawn:
        raise AnalysisError("no claim was tested, so there is nothing to vary; train the seeds that are missing")
    figure, body = open_figure(8, 1.5 * len(drawn) + 1.1, caption)
    panels = body.subplots(len(drawn), 1, squeeze=False)[:, 0]
    for each, axes in zip(drawn, panels, strict=True):
        for place, choice in enumerate(sorted(each.choices, key=lambda choice: choice.effect)):
            colour = BLUE if choice.outcome == each.verdict.outcome else VERMILLION
            axes.plot([place, place], [choice.low, choice.high], "-", color=colour, lw=1, alpha=0.6)
            axes.plot(place, choice.effect, "o" if colour == BLUE else "x", color=colour, ms=3)
        axes.axhline(find_null(each.verdict.claim), color="black", lw=0.8)
        axes.set(xticks=[])
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.yaxis.set_major_formatter(partial(_format_tick, each.verdict))
        axes.tick_params(labelsize=7)
        holds = f"{each.verdict.outcome} in {each.holds} of {len(each.choices)}"
        axes.set_title(f"{each.verdict.name}: {holds} ({say_unit(each.verdict)})", fontsize=9, loc="left")
    handles = [
        Line2D([], [], color=BLUE, marker="o", ms=3, label="the verdict stays"),
        Line2D([], [], color=VERMILLION, marker="x", ms=3, label="another verdict"),
    ]
    return finish_figure(figure, "Each claim over a fixed grid of choices, sorted by effect", handles)


def _format_tick(verdict: Verdict, value: float, _: object) -> str:
    """An effect without the zeros that say nothing on an axis."""
    written = format_effect(value, verdict)
    return "0" if not float(written) else written.rstrip("0").rstrip(".") if "." in written else written


def has_effect(verdict: Verdict) -> bool:
    """Whether a claim was measured by itself: a headline has only parts, an untestable one may have nothing."""
    return not verdict.parts and bool(verdict.n_seeds) and bool(np.isfinite([verdict.effect, *verdict.interval]).all())


def _draw_interval(axes: Axes, verdict: Verdict) -> None:
    """One claim's row; the axis is in the unit that is printed."""
    reference, small = verdict.claim.reference, verdict.claim.smallest_effect
    low, high = verdict.interval_95
    axes.axvspan(reference - small, reference + small, color=ORANGE, alpha=0.35, lw=0)
    axes.axvline(find_null(verdict.claim), color="black", lw=1)
    axes.plot([low, high], [0, 0], "-", color=BLUE, lw=2)
    axes.plot([low, high], [0, 0], "|", color=BLUE, ms=10, mew=2)
    axes.plot(verdict.effect, 0, "D", color=BLUE, ms=6)
    twins = verdict.by_twin
    for place, twin in enumerate(twins, start=1):
        axes.plot([twin.low, twin.high], [-place, -place], "-", color=GREY, lw=1)
        axes.plot(twin.effect, -place, "o", color=GREY, ms=3)
    names = ["all", *(twin.twin for twin in twins)] if twins else []
    axes.set_yticks([-place for place in range(len(names))], names)
    axes.set_ylim(-len(twins) - 0.7, 0.7)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.xaxis.set_major_formatter(partial(_format_tick, verdict))
    axes.tick_params(labelsize=8)
    axes.set_xlabel(f"effect ({say_unit(verdict)})", fontsize=8)
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.patch.set_alpha(0)


def _draw_band(axes: Axes, points: pd.DataFrame, style: Style) -> None:
    """Mean and range by epoch of one metric; of a single run its line alone."""
    spread = points.groupby("epoch")["value"].agg(["mean", "min", "max", "size"])
    axes.plot(spread.index, spread["mean"], marker="o" if len(spread) == 1 else "", **style)
    if (spread["size"] > 1).any():
        axes.fill_between(spread.index, spread["min"], spread["max"], color=style["color"], alpha=0.2, lw=0)
