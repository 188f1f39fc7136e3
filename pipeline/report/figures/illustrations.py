"""The report's figures as pictures that a page can hold, each with a text that says what it shows."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.analysis.claims.verdict import Verdict
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.table.entries import measure_entry
from pipeline.report.figures.comparison import QUANTITIES, order_variants, plot_gap, plot_seeds
from pipeline.report.figures.onset import plot_onset
from pipeline.report.figures.render import render_svg
from pipeline.report.figures.verdicts import has_effect, plot_interval, plot_specifications, plot_spread
from pipeline.report.text.lessons import say_specifications
from pipeline.report.text.numbers import format_effect, say_unit
from pipeline.study import metrics
from pipeline.study.facts import Provenance

MOST_VIOLINS = 3 * 2**20  # bytes of all violins in one page
MOST_POINTS = 2000  # of a line; more are drawn as an image within the picture, which would be large
POINTS_PER_PIXEL = 0.75


@dataclass(frozen=True, kw_only=True)
class Illustration:
    """A picture: `source` is a data URI, `width` and `height` are in pixels (0: not known), `finding` stands for it."""

    name: str
    title: str
    finding: str
    source: str
    width: int = 0
    height: int = 0


def draw_interval(verdict: Verdict) -> Illustration | None:
    """The claim's interval, if it has any."""
    if not has_effect(verdict):
        return None
    return embed_figure(plot_interval(verdict), "interval", "Effect and interval", f"{say_interval(verdict)}.")


def draw_specifications(comparison: Comparison) -> Iterator[Illustration]:
    """The claims over the grid of choices, if one was tested."""
    drawn = [each for each in comparison.specifications if each.choices]
    if drawn:
        (finding,) = say_specifications(comparison)
        title = "Claims judged again over a fixed grid of choices"
        yield embed_figure(plot_specifications(drawn), "specifications", title, finding)


def draw_curves(comparison: Comparison, history: pd.DataFrame) -> Iterator[Illustration]:
    """Curves of loss and accuracy; `history` has the accuracies (run_id, metric, epoch, value)."""
    runs = comparison.runs
    for quantity, points, metric in (
        ("loss", comparison.history, metrics.HONEST_TEST_LOSS.final),
        ("accuracy", history, metrics.TEST_ACCURACY.final),
    ):
        if not points.empty:
            figure = plot_spread(points, runs, quantity)
            finding = rank_variants(runs, metric)
            yield embed_figure(figure, quantity, f"Train and test {quantity} by epoch", finding)


def draw_spreads(comparison: Comparison) -> Iterator[Illustration]:
    """What the runs end with: every seed, the gap, and the onsets where they were watched."""
    runs = comparison.runs
    spreads: tuple[tuple[str, str, Callable[..., Figure]], ...] = (
        (metrics.TEST_ACCURACY.final, "Test accuracy of every seed", plot_seeds),
        (metrics.HONEST_TEST_LOSS.final, "Test loss of every seed", plot_seeds),
        (metrics.GAP_HONEST.final, "Honest gap by depth and kernel", lambda runs, _: plot_gap(runs)),
    )
    for metric, title, draw in spreads:
        yield embed_figure(draw(runs, metric), metric.replace("/", "_"), title, rank_variants(runs, metric))
    onsets = comparison.onsets
    if not onsets.empty:
        seen = int(onsets["onset"].notna().sum())
        finding = f"{seen} of {len(onsets)} runs were seen to begin to overfit; the others not up to their last epoch."
        yield embed_figure(
            plot_onset(onsets, runs, comparison.claimed_onset), "onset", "Onset of overfitting of every run", finding
        )


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
        title = f"{run.variant}, seed {run.settings.seed}"
        pictures.append(
            Illustration(name="weights", title=title, finding=finding, source=_write_uri(run.weights, "image/png"))
        )
    return pictures


def embed_figure(figure: Figure, name: str, title: str, finding: str) -> Illustration:
    """The figure as a vector picture on no ground, so that it fits a light and a dark page."""
    for ground in (figure.patch, *(axes.patch for axes in figure.axes)):
        ground.set_alpha(0)
    for line in (line for axes in figure.axes for line in axes.lines):
        line.set_rasterized(len(np.asarray(line.get_xdata())) > MOST_POINTS)
    svg = render_svg(figure)
    width, height = (round(inches * 72 / POINTS_PER_PIXEL) for inches in figure.get_size_inches())
    source = _write_uri(svg, "image/svg+xml")
    return Illustration(name=name, title=title, finding=finding, source=source, width=width, height=height)


def say_interval(verdict: Verdict) -> str:
    """A claim's effect, interval and verdict in a few words."""
    low, high = (format_effect(bound, verdict) for bound in verdict.interval_95)
    effect = f"{format_effect(verdict.effect, verdict)} {say_unit(verdict)}"
    return f"{verdict.name} {effect}, 95 % interval {low} to {high}, {verdict.word}"


def rank_variants(runs: pd.DataFrame, metric: str) -> str:
    """Which variant has the highest mean of a final metric and which the lowest, with their n."""
    entries = {name: measure_entry(own, metric) for name, own in runs[["variant", "run_id", metric]].groupby("variant")}
    measured = [(entry.value, str(name), len(entry.run_ids)) for name, entry in entries.items() if entry.run_ids]
    if not measured:
        return f"No run has a finite {QUANTITIES[metric]}."
    order = order_variants(runs)
    measured.sort(key=lambda found: (found[0], order.index(found[1])))
    said = [f"{metrics.format_value(metric, float(value or 0))} for {name} (n = {n})" for value, name, n in measured]
    ends = said[0] if len(said) == 1 else f"highest {said[-1]}, lowest {said[0]}"
    return f"Mean over seeds at the last epoch of {QUANTITIES[metric]}: {ends}."


def _write_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
