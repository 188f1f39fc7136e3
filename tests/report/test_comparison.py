from __future__ import annotations

import io
import sys
from collections import Counter

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.report.figures.comparison import plot_accuracy, plot_gap, plot_loss_curves, plot_seeds
from pipeline.report.figures.verdicts import plot_onset, plot_spread
from pipeline.study.metrics import GAP_HONEST, TEST_LOSS
from pipeline.study.variants import VARIANTS
from tests.frames import PUBLISHED_NAMES, make_history, make_onsets, make_runs

RUNS = make_runs(list(VARIANTS), seeds=range(3))
PUBLISHED = RUNS[RUNS["variant"].isin(PUBLISHED_NAMES)]


def drawn(axes):
    """Lines that have points to draw."""
    return [line for line in axes.lines if np.isfinite(np.asarray(line.get_ydata(), dtype=float)).any()]


def legend_of(figure):
    return [text.get_text() for text in figure.subfigs[0].legends[0].get_texts()]


def title_of(figure):
    return figure.subfigs[0].get_suptitle()


def draw_all(runs):
    return [
        plot_loss_curves(make_history(runs), runs, source="notebook", caption="settings"),
        plot_gap(runs, caption="settings"),
        plot_accuracy(runs, caption="settings"),
        plot_seeds(runs, TEST_LOSS.final, caption="settings"),
        plot_onset(make_onsets(runs), caption="settings"),
    ]


@pytest.mark.parametrize(
    "runs", [make_runs(PUBLISHED_NAMES[4:11], (0, 1)), make_runs(["conv2_5x5"])], ids=["seven", "one run"]
)
def test_every_figure_is_drawn_with_units_caption_and_without_a_display(runs):
    for figure in draw_all(runs):
        assert isinstance(figure, Figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=40)
        assert buffer.tell() > 1000
        assert any(text.get_text() == "settings" for text in figure.subfigs[2].texts)
        assert all(axes.get_xlabel() or axes.get_title() for axes in figure.axes)
    assert "matplotlib.pyplot" not in sys.modules or matplotlib.pyplot.get_fignums() == []


def test_loss_curves_have_a_panel_a_variant_on_shared_axes():
    figure = plot_loss_curves(make_history(PUBLISHED), PUBLISHED, source="notebook")
    assert [axes.get_title() for axes in figure.axes] == [f"{name} (n = 3)" for name in PUBLISHED_NAMES]
    for axes in figure.axes:  # a line of each metric, with a gap between two seeds
        assert [int(np.isnan(line.get_ydata()).sum()) for line in axes.lines] == [2, 2]
        assert [len(line.get_ydata()) for line in axes.lines] == [3 * 25 + 2] * 2
    assert len({axes.get_ylim() for axes in figure.axes}) == len({axes.get_xlim() for axes in figure.axes}) == 1
    assert {axes.get_yscale() for axes in figure.axes} == {"log"}
    assert [axes.get_xlabel() for axes in figure.axes] == [""] * 9 + ["epoch"] * 5
    assert figure.subfigs[1].get_supylabel() == "categorical cross-entropy (nats)"
    assert legend_of(figure) == ["train loss", "test loss"]


def test_loss_curves_show_the_metric_they_name():
    runs = make_runs(["conv2_3x3"])
    history = make_history(runs)
    history.loc[history["metric"] == "honest/test_loss", "value"] = 0.25
    train, test = plot_loss_curves(history.sample(frac=1, random_state=0), runs, source="honest").axes[0].lines
    assert set(test.get_ydata()) == {0.25}
    assert list(train.get_xdata()) == list(range(1, 26))
    assert train.get_linestyle() != test.get_linestyle()
    assert "honest" in title_of(plot_loss_curves(history, runs, source="honest"))


def test_gap_draws_every_run_once_and_lines_through_twins_alone():
    figure = plot_gap(RUNS)
    assert [axes.get_title() for axes in figure.axes] == ["kernel 3x3", "kernel 5x5"]
    marks = [line for axes in figure.axes for line in drawn(axes) if line.get_marker() in ("o", "s")]
    assert sum(len(line.get_xdata()) for line in marks) == len(RUNS)
    means = [
        line for line in figure.axes[1].lines if line.get_linestyle() in ("-", "--") and len(line.get_xdata()) == 4
    ]
    plain = RUNS[RUNS["variant"].isin(["conv2_5x5", "conv3_5x5", "conv5_5x5_plain", "conv7_5x5_plain"])]
    assert list(means[0].get_ydata()) == pytest.approx(list(plain.groupby("depth_counted")["final/gap_honest"].mean()))
    assert [text.get_text() for text in figure.axes[1].texts] == ["conv3_5x5_reg", "conv5_5x5"]
    assert figure.axes[0].get_ylabel() == "honest gap (nats)"
    assert "n = 57 runs" in title_of(figure)
    assert legend_of(figure) == ["plain", "regularised", "no twin"]


def test_axes_and_legends_name_only_what_a_study_has():
    runs = make_runs(["conv2_3x3", "conv2_3x3_reg", "conv3_3x3", "conv3_3x3_reg"], seeds=range(2))
    gap, accuracy = plot_gap(runs), plot_accuracy(runs)
    assert legend_of(gap) == ["plain", "regularised"]
    assert [list(axes.get_xticks()) for axes in gap.axes] == [[2, 3]]
    assert gap.axes[0].get_xlim()[1] <= 4
    assert legend_of(accuracy) == ["plain", "regularised", "2 convs", "3 convs"]
    low, high = accuracy.axes[0].get_xlim()
    assert low > runs["parameters"].min() / 2
    assert high < 2 * runs["parameters"].max()


@pytest.mark.parametrize(("variants", "rows"), [(2, 1), (6, 2), (7, 2), (14, 4)])
def test_panels_stand_in_even_rows_and_no_text_is_cut_or_printed_over(variants, rows):
    runs = PUBLISHED[PUBLISHED["variant"].isin(PUBLISHED_NAMES[:variants])]
    figure = plot_spread(make_history(runs), runs, "loss")
    beside = Counter(axes.get_position().y0 for axes in figure.axes).values()
    assert len(beside) == rows
    assert max(beside) - min(beside) < rows, "six are two rows of three, not four and two"
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    titles = [axes.title.get_window_extent(renderer) for axes in figure.axes]
    ticks = [
        label.get_window_extent(renderer)
        for axes in figure.axes
        for label in (*axes.get_xticklabels(), axes.xaxis.label)
        if label.get_visible() and label.get_text()
    ]
    assert not [title for title in titles if title.count_overlaps(ticks)]
    head = figure.subfigs[0]
    for text in (*titles, *(legend.get_window_extent(renderer) for legend in head.legends)):
        assert figure.bbox.x0 <= text.x0
        assert text.x1 <= figure.bbox.x1


def test_accuracy_stands_at_the_parameters_in_per_cent():
    runs = make_runs(["conv7_5x5"], **{"final/test_accuracy": 0.9911})
    (axes,) = plot_accuracy(runs).axes
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "parameters (log scale)"
    assert axes.get_ylabel() == "test accuracy (%)"
    assert {(line.get_xdata()[0], round(line.get_ydata()[0], 6)) for line in axes.lines} == {(646_858, 99.11)}
    counted = sum(len(line.get_xdata()) for axes in plot_accuracy(RUNS).axes for line in axes.lines)
    assert counted == len(RUNS) + len(VARIANTS)


def test_seeds_are_dots_with_an_interval_from_two_on():
    runs = make_runs(["conv2_3x3"], seeds=range(4))
    figure = plot_seeds(runs, GAP_HONEST.final)
    (axes,) = figure.axes
    dots, interval, mean = axes.lines
    assert sorted(dots.get_xdata()) == sorted(runs["final/gap_honest"])
    assert mean.get_xdata()[0] == pytest.approx(runs["final/gap_honest"].mean())
    assert interval.get_xdata()[0] < mean.get_xdata()[0] < interval.get_xdata()[1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["conv2_3x3 (n = 4)"]
    assert axes.get_xlabel() == GAP_HONEST.title
    assert legend_of(figure) == ["one seed", "mean, 95 % t-interval"]
    alone = plot_seeds(runs[:1], TEST_LOSS.final)
    assert len(alone.axes[0].lines) == 1
    assert legend_of(alone) == ["one seed"]


def test_variants_run_from_the_top_in_the_order_of_the_study():
    (axes,) = plot_seeds(PUBLISHED, TEST_LOSS.final).axes
    assert [label.get_text().split()[0] for label in axes.get_yticklabels()] == PUBLISHED_NAMES
    bottom, top = axes.get_ylim()
    assert bottom > top


def test_onset_marks_each_run_once_seen_or_censored():
    runs = make_runs(["conv2_3x3", "conv2_3x3_reg"], seeds=range(3))
    onsets = make_onsets(runs)
    assert not plot_onset(onsets).axes[0].patches, "nothing is claimed"
    figure = plot_onset(onsets.iloc[:-1], (10, 15))
    (axes,) = figure.axes
    seen, censored = axes.lines
    marks = [pd.Series(line.get_xdata()).dropna() for line in (seen, censored)]
    assert sorted(marks[0]) == sorted(onsets["onset"].dropna())
    assert list(marks[1]) == [25, 25]
    heights = seen.get_ydata()
    assert len(set(heights)) == 5
    assert (abs(heights - np.round(heights)) < 0.31).all()
    assert (seen.get_marker(), censored.get_marker()) == ("o", ">")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["conv2_3x3 (n = 3)", "conv2_3x3_reg (n = 2)"]
    assert "n = 5 runs" in title_of(figure)
    assert legend_of(figure) == ["onset", "not seen up to this epoch", "epochs 10 to 15, as claimed"]
    assert legend_of(plot_onset(onsets[onsets["onset"].isna()])) == ["not seen up to this epoch"]
    (band,) = axes.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == (10, 15)


@pytest.mark.parametrize("variants", [1, 4, 14])
def test_the_label_beside_the_panels_meets_no_numbers_and_no_legend(variants):
    runs = PUBLISHED[PUBLISHED["variant"].isin(PUBLISHED_NAMES[:variants])]
    figure = plot_spread(make_history(runs), runs, "loss", caption="a caption " * 40)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    head, body, _ = figure.subfigs
    (label,) = (text for text in body.texts if text.get_text() == body.get_supylabel())
    area = label.get_window_extent(renderer)
    others = [figure.axes[0].yaxis.get_tightbbox(renderer)]
    others += [legend.get_window_extent(renderer) for legend in head.legends]
    assert not area.count_overlaps(others)
    assert figure.bbox.x0 <= area.x0


def test_of_very_many_runs_some_curves_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = make_runs(["conv2_3x3"], seeds=range(5))
    monkeypatch.setattr("pipeline.report.figures.comparison.MOST_LINES", 3)
    (axes,) = plot_loss_curves(make_history(runs), runs, source="notebook").axes
    assert axes.get_title() == "conv2_3x3 (n = 5, 3 drawn)"
    assert np.isnan(axes.lines[0].get_xdata()).sum() == 2
