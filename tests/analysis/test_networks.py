from __future__ import annotations

import warnings

import numpy as np
import pytest
from statsmodels.stats.meta_analysis import combine_effects

from pipeline.analysis.claims.networks import reach_across, reach_slope
from pipeline.analysis.statistics import t_interval
from pipeline.report.text.sentences import say_verdict
from tests.analysis.studies import DEPTH, GAP, judge, plant_gap


def test_the_mean_over_networks_agrees_with_statsmodels():
    rng = np.random.default_rng(1)
    effects = rng.normal(size=8) + 0.5 * rng.normal(size=(10, 8))
    across = reach_across(effects)
    means, variances = effects.mean(axis=0), effects.var(axis=0, ddof=1) / 10
    found = combine_effects(means, variances, method_re="iterated", use_t=True, alpha=0.05)
    with warnings.catch_warnings(action="ignore"):  # of the single twins it knows no degrees of freedom
        expected = found.summary_frame().loc["random effect wls"]
    assert across.mean == pytest.approx(expected["eff"], rel=1e-3)
    assert (across.low, across.high) == pytest.approx((expected["ci_low"], expected["ci_upp"]), rel=2e-2)
    assert across.new_low < across.low < across.high < across.new_high


@pytest.mark.parametrize("twins", [3, 6])
def test_networks_and_new_ones_are_covered_as_often_as_said(twins):
    """Networks differ by as much as seeds do; at 2,000 studies the Monte-Carlo error is 0.5 points."""
    rng = np.random.default_rng(twins)
    held, new = 0, 0
    for _ in range(2000):
        across = reach_across(rng.normal(size=twins) + rng.normal(size=(10, twins)))
        held += across.low <= 0 <= across.high
        new += across.new_low <= rng.normal() <= across.new_high
    assert held / 2000 >= 0.95 - 3 * 0.005
    assert new / 2000 >= 0.95 - 3 * 0.005


def test_few_networks_are_suggestive_or_say_nothing():
    effects = -0.03 + 0.001 * np.random.default_rng(2).normal(size=(6, 8))
    assert "(suggestive: only 8 twins)" in say_verdict(judge(GAP, plant_gap(effects)))
    assert judge(GAP, plant_gap(effects[:, :2])).across is None
    assert reach_across(effects[:1]) is None


def test_a_slope_holds_for_other_networks_as_often_as_said():
    """Networks differ by one SD of a seed, without a trend; at 2,000 studies the Monte-Carlo error is 0.5 points."""
    rng = np.random.default_rng(6)
    depths = np.array([2.0, 2, 3, 3, 5, 5])
    over_networks, over_seeds = 0, 0
    for _ in range(2000):
        effects = rng.normal(size=6) + rng.normal(size=(10, 6))
        across = reach_slope(effects, depths)
        over_networks += not across.low <= 0 <= across.high
        _, low, high = t_interval(effects @ ((depths - depths.mean()) / ((depths - depths.mean()) ** 2).sum()))
        over_seeds += not low <= 0 <= high
    assert over_networks / 2000 <= 0.05 + 3 * 0.005
    assert over_seeds / 2000 > 0.3  # which is why a sentence says both
    said = say_verdict(judge(DEPTH, plant_gap(np.random.default_rng(7).normal(size=(6, 8)))))
    assert "over networks like them (95 %) the slope would lie in " in said
    assert "a new one" not in said


def test_each_twin_is_told():
    effects = np.array([-0.3, -0.1, 0.02]) + 0.001 * np.random.default_rng(3).normal(size=(6, 3))
    verdict = judge(GAP, plant_gap(effects))
    assert [twin.twin for twin in verdict.by_twin] == ["conv2_3x3", "conv2_5x5", "conv3_3x3"]
    assert [twin.effect for twin in verdict.by_twin] == pytest.approx(effects.mean(axis=0))
    assert [twin.agrees for twin in verdict.by_twin] == [True, True, False]
    low, high = effects.mean(axis=0)[[0, 2]]
    assert f"lower in 2 of 3 twins (not conv3_3x3), from {low:+.4f} to {high:+.4f}" in say_verdict(verdict)
