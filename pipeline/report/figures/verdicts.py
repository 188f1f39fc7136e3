"""Figures of what the claims are on: intervals, choices, onsets, and curves with the spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.analysis.claims.contrasts import find_null
from pipeline.analysis.claims.specification import Specification
from pipeline.analysis.claims.verdict import Verdict
from pipeline.report.figures.comparison import BLUE, GREY, ORANGE, STYLES, VERMILLION, list_handles, open_lines
from pipeline.report.figures.layout import finish_figure, open_figure, open_panels, settle_figure, use_log_scale
from pipeline.report.text.numbers import format_effect, name_scale, say_unit
from pipeline.study.metrics import HONEST_TEST_LOSS, HONEST_TRAIN_LOSS, TEST_ACCURACY, TRAIN_ACCURACY

QUANTITIES: Mapping[str, tuple[str, str, str]] = {
    "loss": (HONEST_TRAIN_LOSS, HONEST_TEST_LOSS, "cross-entropy, evaluation mode (nats, log scale)"),
    "accuracy": (TRAIN_ACCURACY, TEST_ACCURACY, "accuracy"),
}
"""What can be drawn by epoch: its train metric, its test metric, its axis."""
COLUMNS = 4


def plot_spread(history: pd.DataFrame, runs: pd.DataFrame, quantity: str, *, caption: str = "") -> Figure:
    """Train and test curves, a panel a variant: the mean over its seeds as a line, lowest to highest seed as a band.

    `history` has run_id, metric, epoch and value, of `runs` or more; `quantity` is one of QUANTITIES.
    """
    variants = runs["variant"].unique()
    *metrics, label = QUANTITIES[quantity]
    figure, panels = open_panels(len(variants), COLUMNS, 2.4, label, caption)
    if quantity == "loss":
        use_log_scale(panels[0])
    points = history[history["metric"].isin(metrics)]
    for axes, variant in zip(panels, variants, strict=True):
        own = points[points["run_id"].isin(runs.loc[runs["variant"] == variant, "run_id"])]
        for metric, style in zip(metrics, STYLES, strict=True):
            spread = own[own["metric"] == metric].groupby("epoch")["value"].agg(["mean", "min", "max", "size"])
            axes.plot(spread.index, spread["mean"], marker="o" if len(spread) == 1 else "", **style)
            if (spread["size"] > 1).any():
                axes.fill_between(spread.index, spread["min"], spread["max"], color=style["color"], alpha=0.2, lw=0)
        axes.set_title(f"{variant} (n = {own['run_id'].nunique()})", fontsize=8)
    if quantity == "accuracy":
        panels[0].yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    title = f"Train and test {quantity}: mean and range over seeds"
    return finish_figure(figure, title, list_handles("train", "test"))


def plot_interval(verdict: Verdict) -> Figure:
    """A claim's effect and 95 % interval with what it is held against and its margin; below it that of each twin.

    Small, to stand beside the claim's text, so without title and legend; the axis is in the unit that is printed. Of a
    claim by depth or kernel: the effect of each twin with its interval over that, and the fitted line.
    """
    if verdict.claim.by and verdict.by_twin:
        return _plot_steps(verdict, verdict.claim.by)
    reference, small, twins = verdict.claim.reference, verdict.claim.smallest_effect, verdict.by_twin
    figure = Figure(figsize=(3.6, 0.9 + 0.24 * len(twins)), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(reference - small, reference + small, color=ORANGE, alpha=0.35, lw=0)
    axes.axvline(find_null(verdict.claim), color="black", lw=1)
    axes.plot(verdict.interval_95, [0, 0], "-", color=BLUE, lw=2)
    axes.plot(verdict.interval_95, [0, 0], "|", color=BLUE, ms=10, mew=2)
    axes.plot(verdict.effect, 0, "D", color=BLUE, ms=6)
    for place, twin in enumerate(twins, start=1):
        axes.plot([twin.low, twin.high], [-place, -place], "-", color=GREY, lw=1)
        axes.plot(twin.effect, -place, "o", color=GREY, ms=3)
    names = ["all", *(twin.twin for twin in twins)] if twins else []
    axes.set_yticks([-place for place in range(len(names))], names)
    axes.set_ylim(-len(twins) - 0.7, 0.7)
    axes.margins(x=0.08)
    _tick_effects(axes.xaxis, verdict)
    axes.tick_params(labelsize=8)
    axes.set_xlabel(f"effect ({say_unit(verdict)})", fontsize=8)
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.patch.set_alpha(0)
    return settle_figure(figure)


def _plot_steps(verdict: Verdict, factor: str) -> Figure:
    twins = verdict.by_twin
    steps, effects = np.array([[getattr(twin, factor), twin.effect] for twin in twins], dtype=float).T
    figure = Figure(figsize=(3.6, 2.2), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="black", lw=1)
    places = steps + np.linspace(-0.08, 0.08, len(twins))  # beside each other, where two have the same step
    for place, twin in zip(places, twins, strict=True):
        axes.plot([place, place], [twin.low, twin.high], "-", color=GREY, lw=1)
        axes.plot(place, twin.effect, "o", color=GREY, ms=3)
    ends = np.array([steps.min(), steps.max()])
    axes.plot(ends, effects.mean() + verdict.effect * (ends - steps.mean()), "-", color=BLUE, lw=2)
    axes.set_xticks(sorted(set(steps)))
    _tick_effects(axes.yaxis, verdict)
    axes.tick_params(labelsize=8)
    axes.set_xlabel(factor, fontsize=8)
    axes.set_ylabel(f"effect ({name_scale(verdict)})", fontsize=8)
    axes.spines[["right", "top"]].set_visible(False)
    axes.patch.set_alpha(0)
    return settle_figure(figure)


def plot_specifications(specifications: Sequence[Specification], *, caption: str = "") -> Figure:
    """Each claim's effect and interval over its grid of choices, sorted by effect, a panel a claim.

    Choices with which the claim keeps its verdict are blue, others vermillion. Needs a claim that has choices.
    """
    drawn = [each for each in specifications if each.choices]
    figure, body = open_figure(8, 1.5 * len(drawn) + 1.1, caption)
    panels = body.subplots(len(drawn), 1, squeeze=False)[:, 0]
    for each, axes in zip(drawn, panels, strict=True):
        for place, choice in enumerate(sorted(each.choices, key=lambda choice: choice.effect)):
            colour = BLUE if choice.outcome == each.verdict.outcome else VERMILLION
            axes.plot([place, place], [choice.low, choice.high], "-", color=colour, lw=1, alpha=0.6)
            axes.plot(place, choice.effect, "o" if colour == BLUE else "x", color=colour, ms=3)
        axes.axhline(find_null(each.verdict.claim), color="black", lw=0.8)
        axes.set(xticks=[])
        _tick_effects(axes.yaxis, each.verdict, most=4)
        axes.tick_params(labelsize=7)
        holds = f"{each.verdict.outcome} in {each.holds} of {len(each.choices)}"
        axes.set_title(f"{each.verdict.name}: {holds} ({say_unit(each.verdict)})", fontsize=9, loc="left")
    handles = [
        Line2D([], [], color=BLUE, marker="o", ms=3, label="the verdict stays"),
        Line2D([], [], color=VERMILLION, marker="x", ms=3, label="another verdict"),
    ]
    return finish_figure(figure, "Each claim over a fixed grid of choices, sorted by effect", handles)


def plot_onset(onsets: pd.DataFrame, claimed: tuple[int, int] | None = None, *, caption: str = "") -> Figure:
    """Onset of overfitting of each run: a dot at its epoch, an open triangle at its last epoch where it was not seen.

    `onsets` has a row a run: variant, seed, `epochs` watched and `onset` (epoch, from 1; nan where censored). `claimed`
    are the first and last epoch of a claim's window, which is shaded.
    """
    figure, axes, variants = open_lines(onsets, caption)
    drawn = onsets.sort_values("seed")
    heights = pd.Series(0.0, drawn.index)
    for place, variant in enumerate(variants):
        own = drawn["variant"] == variant
        heights[own] = place + (np.linspace(-0.3, 0.3, own.sum()) if own.sum() > 1 else 0)
    # A nan is not drawn, so each run leaves one mark: its onset, or the end of what was watched.
    axes.plot(drawn["onset"], heights, "o", color=VERMILLION, ms=5)
    axes.plot(drawn["epochs"].where(drawn["onset"].isna()), heights, ">", color=BLUE, mfc="none", ms=5)
    axes.set(xlabel="epoch", xlim=(0, drawn["epochs"].max() * 1.04))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    seen = Line2D([], [], color=VERMILLION, marker="o", ls="none", label="onset")
    censored = Line2D([], [], color=BLUE, marker=">", mfc="none", ls="none", label="not seen up to this epoch")
    known = drawn["onset"].notna()
    handles = [handle for handle, drawn_any in ((seen, known.any()), (censored, not known.all())) if drawn_any]
    if claimed:
        axes.axvspan(*claimed, color=ORANGE, alpha=0.2, lw=0)
        label = f"epochs {claimed[0]} to {claimed[1]}, as claimed"
        handles.append(Line2D([], [], color=ORANGE, alpha=0.4, lw=8, label=label))
    return finish_figure(figure, f"Onset of overfitting (honest test loss), n = {len(drawn)} runs", handles)


def _tick_effects(axis: Axis, verdict: Verdict, most: int = 5) -> None:
    """Mark an axis of effects in the unit that is printed."""
    axis.set_major_locator(MaxNLocator(nbins=most))
    axis.set_major_formatter(partial(_format_tick, verdict))


def _format_tick(verdict: Verdict, value: float, _: object) -> str:
    """An effect without the zeros that say nothing on an axis."""
    written = format_effect(value, verdict)
    return "0" if not float(written) else written.rstrip("0").rstrip(".") if "." in written else written
