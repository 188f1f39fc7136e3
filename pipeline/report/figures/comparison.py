"""Figures that compare runs: frames of chosen runs, in order, in, a Figure out; nothing is written or shown here.

Colours are those of Okabe and Ito (2008), which people with any common colour vision can tell apart; marker, line style
or fill says the same once more. `caption` goes under a figure: the place for settings, rule and number of runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, PercentFormatter

from pipeline.analysis.statistics import t_interval
from pipeline.report.figures.layout import finish_figure, open_figure, open_panels, use_log_scale
from pipeline.study import metrics
from pipeline.study.facts import COLOURS

VERMILLION, BLUE = COLOURS[False], COLOURS[True]
ORANGE, GREY = "#E69F00", "#555555"
Style = dict[str, Any]  # keywords of a Line2D
GROUPS: dict[str, Style] = {
    "plain": {"color": VERMILLION, "ls": "--"},
    "regularised": {"color": BLUE, "ls": "-", "mfc": "none"},
    "no twin": {"color": GREY, "ls": "none", "mfc": "none"},
}
"""How the two kinds of a matched twin, and the rows that are in no twin, are drawn."""
STYLES: tuple[Style, ...] = ({"color": VERMILLION, "ls": "--", "lw": 1.3}, {"color": BLUE, "ls": "-", "lw": 1.3})
"""How curves of training and test are drawn."""
DEPTH_MARKERS = {2: "o", 3: "^", 5: "s", 7: "D"}
LOSSES = {
    "notebook": (metrics.TRAIN_LOSS, metrics.TEST_LOSS),
    "honest": (metrics.HONEST_TRAIN_LOSS, metrics.HONEST_TEST_LOSS),
}
COLUMNS = 5
MOST_LINES = 200  # curves in one panel


def plot_loss_curves(
    history: pd.DataFrame, runs: pd.DataFrame, *, source: Literal["notebook", "honest"], caption: str = ""
) -> Figure:
    """Train and test loss by epoch, a panel a variant, a line a run (of the first MOST_LINES), on shared axes.

    `source` "notebook" takes the losses as fit reports them, "honest" those in evaluation mode without the penalty.
    """
    variants = runs["variant"].unique()
    figure, panels = open_panels(len(variants), COLUMNS, 2.5, "categorical cross-entropy (nats)", caption)
    use_log_scale(panels[0])
    lines = runs.groupby("variant").head(MOST_LINES)["run_id"]
    shown = history[history["metric"].isin(LOSSES[source]) & history["run_id"].isin(lines)]
    shown = shown.sort_values("epoch", kind="stable")
    curves = shown.groupby(["run_id", "metric"], observed=True).indices
    points = shown[["epoch", "value"]].to_numpy(dtype=float)
    for axes, variant in zip(panels, variants, strict=True):
        run_ids = runs.loc[runs["variant"] == variant, "run_id"]
        for metric, style in zip(LOSSES[source], STYLES, strict=True):
            own = [points[curves[run_id, metric]] for run_id in run_ids if (run_id, metric) in curves]
            axes.plot(*_join_lines(own), **style)
        drawn = f", {MOST_LINES} drawn" if len(run_ids) > MOST_LINES else ""
        axes.set_title(f"{variant} (n = {len(run_ids)}{drawn})", fontsize=8)
    title = f"Train and test loss ({source}), one line a seed"
    return finish_figure(figure, title, list_handles("train loss", "test loss"))


def list_handles(train: str, test: str) -> list[Line2D]:
    """The legend of curves."""
    return [Line2D([], [], **style, label=label) for style, label in zip(STYLES, (train, test), strict=True)]


def plot_gap(runs: pd.DataFrame, *, caption: str = "") -> Figure:
    """The honest gap by counted depth, a panel a kernel: a mark a run, a line through the means of matched twins."""
    figure, panels = _open_kernels(runs, caption)
    for kernel, axes in panels.items():
        here = _split_groups(runs[runs["kernel"] == kernel])
        for (group, style), offset in zip(GROUPS.items(), (-0.12, 0.12, 0.36), strict=True):
            own = here[group]
            marks = style | {"marker": "o" if group == "plain" else "s", "ls": "none"}
            axes.plot(own["depth_counted"] + offset, own[metrics.GAP_HONEST.final], **marks)
            means = own.groupby("depth_counted")[metrics.GAP_HONEST.final].mean()
            axes.plot(means.index + offset, means, color=style["color"], ls=style["ls"])
        for variant, own in here["no twin"].groupby("variant"):
            spot = (own["depth_counted"].iloc[0] + 0.36, own[metrics.GAP_HONEST.final].max())
            _name_point(axes, str(variant), spot)
        axes.axhline(0, color="black", lw=0.8)
        depths = sorted({*map(int, runs["depth_counted"])})
        axes.set(xlabel="convolutions (counted)", xticks=depths, xlim=(depths[0] - 0.6, depths[-1] + 1))
    figure.axes[0].set_ylabel("honest gap (nats)")
    groups = _list_groups(runs)
    handles = [Line2D([], [], **GROUPS[name], marker="o" if name == "plain" else "s", label=name) for name in groups]
    return finish_figure(figure, f"Gap of test and train loss in evaluation mode, n = {len(runs)} runs", handles)


def plot_accuracy(runs: pd.DataFrame, *, caption: str = "") -> Figure:
    """Test accuracy against parameters, a panel a kernel: the mean of each variant large, its runs as small dots."""
    figure, panels = _open_kernels(runs, caption)
    for kernel, axes in panels.items():
        for group, here in _split_groups(runs[runs["kernel"] == kernel]).items():
            style = GROUPS[group] | {"ls": "none"}
            for variant, own in here.groupby("variant"):
                size, accuracy = own["parameters"], 100 * own[metrics.TEST_ACCURACY.final]
                marker = DEPTH_MARKERS.get(int(own["depth_counted"].iloc[0]), "P")
                axes.plot(size, accuracy, ".", color=style["color"], alpha=0.4, ms=4)
                axes.plot(size.iloc[0], accuracy.mean(), marker, **style, ms=8)
                if group == "no twin":
                    _name_point(axes, str(variant), (size.iloc[0], accuracy.mean()))
        low, high = 0.7 * runs["parameters"].min(), 1.4 * runs["parameters"].max()
        ticks = [25_000 * 2**power for power in range(-10, 20) if low / 2 < 25_000 * 2**power < high]
        axes.set(xscale="log", xlabel="parameters (log scale)")
        axes.set_xticks(ticks, [f"{tick / 1000:g}k" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(low, high)
    figure.axes[0].set_ylabel("test accuracy (%)")
    groups, depths = _list_groups(runs), [depth for depth in DEPTH_MARKERS if depth in set(runs["depth_counted"])]
    handles = [Line2D([], [], marker="o", **(GROUPS[name] | {"ls": "none"}), label=name) for name in groups]
    handles += [
        Line2D([], [], color="black", marker=DEPTH_MARKERS[depth], ls="none", label=f"{depth} convs")
        for depth in depths
    ]
    return finish_figure(figure, f"Test accuracy against size, n = {len(runs)} runs", handles)


def plot_seeds(runs: pd.DataFrame, metric: metrics.Metric, *, caption: str = "") -> Figure:
    """One final metric: every seed a dot, from two on their mean with its 95 % t-interval; a line a variant."""
    figure, axes, variants = open_lines(runs, caption)
    known = runs.dropna(subset=metric)
    seeds = [known.loc[known["variant"] == variant, metric].to_numpy(dtype=float) for variant in variants]
    places = np.repeat(range(len(seeds)), list(map(len, seeds)))
    axes.plot(np.concatenate(seeds), places, "o", color=BLUE, mfc="none", ms=5)
    handles = [Line2D([], [], color=BLUE, marker="o", mfc="none", ls="none", label="one seed")]
    if means := {place: t_interval(values) for place, values in enumerate(seeds) if len(values) > 1}:
        intervals = [np.array([[low, place - 0.25], [high, place - 0.25]]) for place, (_, low, high) in means.items()]
        axes.plot(*_join_lines(intervals), "-", color=VERMILLION, lw=2)
        axes.plot([mean for mean, _, _ in means.values()], np.array([*means]) - 0.25, "D", color=VERMILLION, ms=5)
        handles.append(Line2D([], [], color=VERMILLION, marker="D", label="mean, 95 % t-interval"))
    axes.set_xlabel(metric.title)
    if metric.endswith("accuracy"):
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    title = metric.removeprefix("final/").replace("_", " ").capitalize()
    return finish_figure(figure, f"{title} by variant and seed", handles)


def _split_groups(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs of each of GROUPS; those without a twin differ in more than one way."""
    names = runs["regularised"].map({True: "regularised", False: "plain"}).where(runs["twin"] != "", "no twin")
    return {group: runs[names == group] for group in GROUPS}


def _list_groups(runs: pd.DataFrame) -> list[str]:
    """Those of GROUPS that occur: a legend names nothing that is not drawn."""
    return [group for group, own in _split_groups(runs).items() if not own.empty]


def _open_kernels(runs: pd.DataFrame, caption: str) -> tuple[Figure, dict[int, Axes]]:
    """A figure with a panel for each kernel size, on shared axes."""
    kernels = sorted(int(kernel) for kernel in runs["kernel"].unique())
    figure, body = open_figure(max(5 * len(kernels), 6.5), 5, caption)
    panels = body.subplots(1, len(kernels), sharex=True, sharey=True, squeeze=False)[0]
    for kernel, axes in zip(kernels, panels, strict=True):
        axes.set_title(f"kernel {kernel}x{kernel}", fontsize=10)
        axes.grid(axis="y", alpha=0.3)
    return figure, dict(zip(kernels, panels, strict=True))


def open_lines(rows: pd.DataFrame, caption: str) -> tuple[Figure, Axes, list[str]]:
    """A figure with a horizontal line for each variant, the first on top, named with its n, and the variants."""
    variants = list(rows["variant"].unique())
    figure, body = open_figure(8, 0.36 * len(variants) + 1.8, caption)
    axes = body.subplots()
    counts = rows["variant"].value_counts()
    axes.set_yticks(range(len(variants)), [f"{variant} (n = {counts[variant]})" for variant in variants])
    axes.set_ylim(len(variants) - 0.4, -0.6)
    axes.grid(alpha=0.3)
    return figure, axes, variants


def _join_lines(lines: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Lines of shape (points, 2) as one of shape (2, all points), with a gap (nan) between them.

    One line with gaps is drawn in a fraction of the time of many.
    """
    gap = np.full((1, 2), np.nan)
    return np.concatenate([piece for line in lines for piece in (line, gap)][:-1] or [gap]).T


def _name_point(axes: Axes, name: str, spot: tuple[float, float]) -> None:
    """Write a variant's name beside its point; needed where panel, marker and group do not tell which it is."""
    axes.annotate(name, spot, xytext=(6, 4), textcoords="offset points", fontsize=7, color=GREY)
