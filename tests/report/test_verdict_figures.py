from __future__ import annotations

import numpy as np
import pytest

from pipeline.analysis.claims.design import Design, Records
from pipeline.analysis.claims.specification import vary_choices
from pipeline.analysis.table.conclusion import conclude
from pipeline.analysis.table.selection import select_runs
from pipeline.report.figures.verdicts import plot_interval, plot_specifications
from pipeline.report.pages.table import LIKE_BEST, tabulate
from tests.analysis.studies import DEPTH, GAP, NO_HISTORY, judge_claims, plant_gap
from tests.frames import make_runs

EFFECTS = np.array([-0.03, -0.02, -0.05, -0.01]) + 0.004 * np.random.default_rng(1).normal(size=(6, 4))


def test_each_twin_has_a_row_below_its_claim():
    runs = plant_gap(EFFECTS)
    (axes,) = plot_interval(judge_claims([GAP], runs)[0]).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["all", "conv2_3x3", "conv2_5x5", "conv3_3x3", "conv3_5x5"]
    drawn = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert drawn == pytest.approx(EFFECTS.mean(axis=0))
    assert axes.get_xlabel() == "effect (nats)"
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert "0" in ticks
    assert not [tick for tick in ticks if tick.endswith("0") and tick != "0"], "zeros that say nothing"


def test_a_slope_is_drawn_over_the_depths_of_its_twins():
    effects = np.array([-0.03, -0.02, -0.05, -0.04, -0.01]) + 0.004 * np.random.default_rng(1).normal(size=(6, 5))
    verdict = judge_claims([DEPTH], plant_gap(effects))[0]
    (axes,) = plot_interval(verdict).axes
    drawn = [(round(line.get_xdata()[0]), line.get_ydata()[0]) for line in axes.lines if line.get_marker() == "o"]
    assert [depth for depth, _ in drawn] == [2, 2, 3, 3, 5]
    assert [effect for _, effect in drawn] == pytest.approx(effects.mean(axis=0))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("depth", "effect (nats)")
    line = axes.lines[-1]
    assert np.diff(line.get_ydata()) / np.diff(line.get_xdata()) == pytest.approx(verdict.effect)


def test_choices_are_drawn_with_whether_the_verdict_stays():
    runs = plant_gap(EFFECTS)
    found = vary_choices(judge_claims([GAP, DEPTH], runs), Records(runs=runs, history=NO_HISTORY), Design())
    (axes,) = plot_specifications(found).axes  # two depths carry no slope
    assert axes.get_title("left") == "gap: SUPPORTED in 11 of 11 (nats)"
    assert sum(line.get_marker() == "o" for line in axes.lines) == 11


def test_the_table_says_what_cannot_be_told_from_the_best():
    runs = make_runs(["conv2_3x3", "conv3_3x3", "conv5_3x3"], seeds=range(6))
    means = runs["variant"].map({"conv2_3x3": 0.99, "conv3_3x3": 0.99, "conv5_3x3": 0.9})
    runs["final/test_accuracy"] = means + 0.001 * np.random.default_rng(2).normal(size=len(runs))
    frame = tabulate(conclude(select_runs(runs, rule="all-seeds")))
    told = frame.loc[["conv2_3x3", "conv3_3x3", "conv5_3x3", "conv7_3x3"], LIKE_BEST]
    assert told.tolist() == ["yes", "yes", "no", "-"]
    few = runs[runs["seed"] < 2]
    assert LIKE_BEST not in tabulate(conclude(select_runs(few, rule="all-seeds")))
