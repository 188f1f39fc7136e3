from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from pipeline.analysis.statistics import (
    adjust_holm,
    bound_sd,
    compare_all_pairs,
    count_seeds,
    estimate_mean,
    estimate_reduction,
    find_power,
    find_ties,
    permute_signs,
    t_interval,
)
from pipeline.study.claims import FEWEST_SEEDS
from tests.analysis.studies import bound_rate
from tests.conftest import slow

RNG = np.random.default_rng(3)
VALUES = RNG.normal(0.01, 0.02, size=9)


def test_interval_and_p_agree_with_scipy_and_statsmodels():
    test = stats.ttest_1samp(VALUES, 0.015)
    low, high = test.confidence_interval(0.99)
    assert t_interval(VALUES, 0.99) == pytest.approx((VALUES.mean(), low, high))
    assert estimate_mean(VALUES).interval(0.05) == pytest.approx(DescrStatsW(VALUES).tconfint_mean(0.05))
    assert estimate_mean(VALUES).p_value(0.015) == pytest.approx(test.pvalue)


def test_one_value_or_none_has_no_interval():
    assert t_interval([2.0])[0] == 2
    for values in ([], [2.0]):
        assert np.isnan(t_interval(values)[1:]).all()
        assert np.isnan(estimate_mean(values).p_value())


def test_equal_values_have_no_p_even_after_rounding():
    estimate = estimate_mean([0.1 + 0.2, 0.3, 0.3])
    assert estimate.sd == 0
    assert np.isnan(estimate.p_value())
    assert estimate_mean([0.3, 0.3], least_sd=0.1).sd == 0.1


def test_sign_flips_are_all_tried():
    values = VALUES[:7]
    flips = np.array(list(itertools.product([-1, 1], repeat=7)))
    exact = (np.abs(flips @ values) >= abs(values.sum()) - 1e-12).mean()
    assert permute_signs(values) == pytest.approx(exact)
    assert permute_signs(np.abs(values)) == pytest.approx(2 / 2**7)
    expected = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=2**7)
    assert permute_signs(values) == pytest.approx(expected.pvalue)
    assert permute_signs([0.1, 0.2, 0.3, -0.6]) == 1  # a sum of zero up to rounding


def test_sign_flips_are_drawn_above_twelve_seeds():
    values = np.random.default_rng(0).normal(0.5, 1, size=16)
    assert permute_signs(values) == permute_signs(values)
    assert permute_signs(values) == pytest.approx(stats.wilcoxon(values).pvalue, abs=0.05)
    assert np.isnan(permute_signs([1.0]))


def test_holm_agrees_with_statsmodels_and_its_levels_with_its_decisions(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels collects at each call
    for _ in range(30):
        p_values = RNG.uniform(0, 0.1, size=5)
        adjusted, levels = adjust_holm(p_values, 0.05)
        assert adjusted == pytest.approx(multipletests(p_values, method="holm")[1])
        assert ((p_values <= levels) == (adjusted <= 0.05)).all()


def test_holm_levels_by_hand():
    assert adjust_holm([0.04, 0.001, 0.02], 0.05)[1] == pytest.approx([0.05, 0.05 / 3, 0.025])
    assert adjust_holm([0.03, 0.031], 0.05)[1] == pytest.approx([0.025, 0.025])
    adjusted, levels = adjust_holm([float("nan"), 0.03], 0.05)
    assert adjusted == pytest.approx([np.nan, 0.06], nan_ok=True)
    assert levels == pytest.approx([0.025, 0.025])


def test_holm_keeps_the_family_wise_error(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels collects at each call
    rejected = [(adjust_holm(RNG.uniform(size=5), 0.05)[0] <= 0.05).any() for _ in range(1000)]
    assert 0.02 < np.mean(rejected) <= bound_rate(0.05, 1000)


def test_reduction_is_the_ratio_within_each_seed():
    plain = np.array([0.05, 0.10, 0.20, 0.04])
    assert estimate_reduction(0.4 * plain, plain) == pytest.approx((0.6, 0.6, 0.6))
    share, low, high = estimate_reduction(plain * [0.4, 0.5, 0.4, 0.5], plain)
    assert low < share < high < 1
    assert share == pytest.approx(1 - 0.2**0.5)
    assert np.isnan(estimate_reduction([-0.01, 0.02], [0.05, 0.05])).all()


def test_all_pairs_agree_with_the_paired_t_test_and_find_the_odd_one():
    values = pd.DataFrame(RNG.normal(size=(6, 5)) + 5 * RNG.normal(size=(6, 1)), columns=list("abcde"))
    values["c"] += 8
    pairs = compare_all_pairs(values).set_index(["first", "second"])
    assert len(pairs) == 10
    expected = stats.ttest_rel(values["a"], values["d"])
    assert pairs.loc[("a", "d"), "p"] == pytest.approx(expected.pvalue)
    assert pairs.loc[("a", "d"), "difference"] == pytest.approx((values["a"] - values["d"]).mean())
    found = pairs[pairs["p_adjusted"] < 0.05].index
    assert set(found) == {("a", "c"), ("b", "c"), ("c", "d"), ("c", "e")}


@pytest.mark.parametrize(("odd", "spread"), [(2, 4.0), *slow((0, 1.0), (2, 1.0))])
def test_all_pairs_keep_the_family_wise_error(odd, spread):
    """Pairs of 12 equal variants beside some far off; at 1,000 studies the Monte-Carlo error is 0.7 points."""
    false = 0
    for _ in range(1000):
        draws = RNG.normal(size=(5, 12 + odd))
        draws[:, :6] *= spread
        draws[:, 12:] += 40
        pairs = compare_all_pairs(pd.DataFrame(draws))
        equal = (pairs["first"] < 12) & (pairs["second"] < 12)
        false += (pairs.loc[equal, "p_adjusted"] <= 0.05).any()
    assert 0.005 < false / 1000 <= bound_rate(0.05, 1000)


def test_those_that_cannot_be_told_from_the_best():
    values = pd.DataFrame(0.01 * RNG.normal(size=(8, 4)) + [1.0, 1.0, 2.0, 3.0], columns=list("abcd"))
    assert find_ties(values) == {"a", "b"}
    assert find_ties(pd.DataFrame({"a": [1.0, 1.9], "b": [1.5, 1.6]})) == {"a", "b"}


@pytest.mark.parametrize("size", [0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_seeds_agree_with_statsmodels(size, alpha):
    expected = TTestPower().solve_power(effect_size=size, alpha=alpha, power=0.8)
    assert count_seeds(2.0, 2 * size, alpha) == np.ceil(expected)


@pytest.mark.parametrize("size", [0.3, 0.5, 0.7, 1.0])
def test_seeds_needed_give_eighty_percent_power(size):
    seeds = count_seeds(1.0, size)
    draws = np.random.default_rng(11).normal(size, 1, size=(20_000, seeds))
    assert (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.03)


def test_seeds_at_the_limit_of_the_sd_give_eighty_percent_power_in_eighty_percent_of_pilots():
    pilots = np.random.default_rng(17).normal(size=(400, 5)).std(axis=1, ddof=1)
    limit, plain = (
        np.array([count_seeds(sd * factor, 0.8) for sd in pilots]) for factor in (float(bound_sd(1.0, 5)), 1.0)
    )
    enough = np.ceil(TTestPower().solve_power(effect_size=0.8, alpha=0.05, power=0.8))  # at the true SD, 1
    assert (limit >= enough).mean() == pytest.approx(0.8, abs=0.06)
    assert (plain >= enough).mean() < 0.6  # what the SD as estimated would promise


@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_a_variance_that_lasts_needs_more_seeds_or_too_many(share):
    most = (1 / (stats.norm.ppf(0.975) + stats.norm.ppf(0.8))) ** 2  # with it no number of seeds gives 80 % power
    seeds = count_seeds(1.0, 1.0, lasting=share * most)
    powers = [find_power(1.0, 1.0, number, lasting=share * most) for number in (seeds - 1, seeds)]
    assert powers[0] < 0.8 <= powers[1]
    assert seeds > count_seeds(1.0, 1.0)
    rng = np.random.default_rng(4)
    means = rng.normal(1, (share * most + 1 / seeds) ** 0.5, size=20_000)
    errors = (share * most + rng.chisquare(seeds - 1, size=20_000) / (seeds - 1) / seeds) ** 0.5
    found = (means / errors > stats.t.ppf(0.975, seeds - 1)).mean()
    assert found == pytest.approx(powers[1], abs=0.02)
    assert count_seeds(1.0, 1.0, lasting=most) is None
    assert count_seeds(0.0, 1.0, lasting=1.01 * most) is None


def test_seeds_have_a_floor_and_a_ceiling():
    assert count_seeds(1e-9, 1.0) == FEWEST_SEEDS == count_seeds(0.0, 1.0)
    assert count_seeds(1.0, 0.001) is None
    assert count_seeds(float("nan"), 1.0) is None


def test_the_bound_of_the_sd_holds_in_eighty_percent():
    spreads = np.random.default_rng(5).normal(size=(20_000, 5)).std(axis=1, ddof=1)
    assert (np.array([bound_sd(1.0, 5)]) * spreads > 1).mean() == pytest.approx(0.8, abs=0.01)
