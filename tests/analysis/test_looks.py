from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline.analysis.claims.design import find_look
from pipeline.report.pages.conclusion import tabulate_verdicts
from pipeline.report.text.sentences import say_verdict
from pipeline.report.text.summary import list_numbers
from tests.analysis.studies import ERROR, GAP, declare, judge, judge_claims, plant_gap

LOOKS = (5, 10, 15)
ORDER = tuple(range(15))
EFFECTS = -0.03 + 0.001 * np.random.default_rng(1).normal(size=(15, 3))


def plan(seeds=ORDER):
    return declare(looks=LOOKS, seeds=seeds)


def test_alpha_is_spent_in_proportion_to_the_seeds():
    whole = tuple(range(20))
    shares = [find_look(whole[:n], whole[:n], whole, (5, 10, 20)).share for n in (5, 12, 19)]
    assert shares == [0.25, 0.25, 0.25]
    assert find_look(whole, whole, whole, (5, 10, 20)).share == 0.5
    assert find_look((3, 1), (3, 1), (3, 1), ()).share == 1


def test_a_look_is_judged_from_its_own_seeds_alone():
    runs = plant_gap(EFFECTS)
    second = judge(GAP, runs[runs["seed"] < 12], design=plan())
    assert (second.look.number, second.n_seeds, second.look.waiting) == (2, 10, 2)
    assert second.per_seed == judge(GAP, runs[runs["seed"] < 10], design=plan()).per_seed
    assert second.level == pytest.approx(1 - 0.05 / 3)
    said = "look 2 of 3, 10 of 15 seeds; 2 more seeds are there and wait for the next look"
    assert said in say_verdict(second)
    assert "judged at alpha 0.0167 after this look's share" in say_verdict(second)
    assert not {run_id for run_id in second.run_ids if run_id.endswith(("-10", "-11"))}


def test_the_declared_order_says_which_seeds_are_looked_at_first():
    runs = plant_gap(EFFECTS)
    order = (14, 3, 9, 0, 7, 1, 2, 4, 5, 6, 8, 10, 11, 12, 13)
    verdict = judge(GAP, runs[runs["seed"].isin([*order[:5], 13])], design=plan(order))
    assert sorted(seed for seed, _ in verdict.per_seed) == [0, 3, 7, 9, 14]


def test_before_the_first_look_nothing_is_judged():
    runs = plant_gap(EFFECTS)
    early = judge(GAP, runs[runs["seed"] < 4], design=plan())
    assert (early.verdict, early.reason) == ("UNTESTABLE", "before the first look at 5 seeds (complete so far: 4)")
    assert "judged at alpha" not in dict(list_numbers(early))
    gap = judge(GAP, runs[(runs["seed"] < 8) & (runs["run_id"] != "conv2_3x3-2")], design=plan())
    assert (gap.verdict, gap.reason) == ("UNTESTABLE", "before the first look at 5 seeds (complete so far: 7)")


def test_one_seed_shows_its_effect_and_no_interval():
    runs = plant_gap(EFFECTS)
    table = tabulate_verdicts([judge(GAP, runs[runs["seed"] < 1], design=plan())])
    assert " nats | - | - | - | 1 | " in table


def test_claims_of_a_family_share_what_a_look_may_spend():
    runs = plant_gap(EFFECTS).assign(**{"final/test_accuracy": 0.99})
    gap, error = judge_claims([GAP, ERROR], runs[runs["seed"] < 5], design=plan())
    assert sorted([1 - gap.level, 1 - error.level]) == pytest.approx([0.05 / 6, 0.05 / 3])
    assert gap.p_adjusted == pytest.approx(min(1, 2 * 3 * gap.p))


@pytest.mark.parametrize("looks", [(5, 10, 15), (5, 10, 20), (5, 6, 7, 8, 9, 10)])
def test_all_looks_together_keep_the_level(looks):
    """At 20,000 studies the Monte-Carlo error is 0.15 points."""
    values = np.random.default_rng(21).normal(size=(20_000, looks[-1]))
    order = tuple(range(looks[-1]))
    rejected, naive = np.zeros(len(values), dtype=bool), np.zeros(len(values), dtype=bool)
    for count in looks:
        share = find_look(order[:count], order[:count], order, looks).share
        p = stats.ttest_1samp(values[:, :count], 0, axis=1).pvalue
        rejected |= p <= 0.05 * share
        naive |= p <= 0.05
    assert 0.03 < rejected.mean() <= 0.05
    assert naive.mean() > 0.085
