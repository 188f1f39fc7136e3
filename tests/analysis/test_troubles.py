from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.claims.troubles import find_collapsed
from pipeline.report.text.sentences import say_verdict
from tests.analysis.studies import ERROR, GAP, HEADLINE, judge, judge_claims, plant_effects, plant_errors, plant_gap


def plant_collapse(variant, seeds, accuracy=0.1):
    """Runs of 3 twins without any effect on the error, but for those of a variant and seeds that collapsed."""
    runs = plant_errors(0.0)
    fallen = (runs["variant"] == variant) & runs["seed"].isin(seeds)
    return runs.assign(**{"final/test_accuracy": runs["final/test_accuracy"].mask(fallen, accuracy)})


def test_a_network_that_did_not_train_is_named_and_left_out_once():
    verdict = judge(ERROR, plant_collapse("conv3_3x3_reg", range(6), 0.3))
    assert verdict.outcome_with == "REFUTED"
    assert (verdict.without.verdict, verdict.without.outcome, verdict.without.twins) == ("", "SUPPORTED", 2)
    assert verdict.verdict == "INCONCLUSIVE"
    assert "Beware: conv3_3x3_reg did not train in 6 of 6 seeds (test accuracy 30.0 %). With it: REFUTED." in (
        say_verdict(verdict)
    )
    assert "Without: SUPPORTED (+0.00 points, 95 % CI " in say_verdict(verdict)
    assert say_verdict(verdict).endswith(" As the two differ, the verdict is open.")


def test_a_run_that_collapsed_takes_its_seed():
    verdict = judge(ERROR, plant_collapse("conv2_3x3", [3]))
    assert "conv2_3x3 collapsed with seed 3 (test accuracy 10.0 %)" in say_verdict(verdict)
    assert (verdict.without.n_seeds, verdict.without.twins) == (5, 3)


def test_a_verdict_that_holds_with_and_without_stands():
    runs = plant_errors(0.3, 0.001)
    bad = runs["run_id"] == "conv2_3x3_reg-1"
    verdict = judge(ERROR, runs.assign(**{"final/test_accuracy": runs["final/test_accuracy"].mask(bad, 0.1)}))
    assert (verdict.verdict, verdict.outcome_with, verdict.without.outcome) == ("REFUTED",) * 3
    assert "As the two differ" not in say_verdict(verdict)


@pytest.mark.parametrize("lost", ["broken", "nan"])
def test_numbers_that_are_not_finite_block_support(lost):
    runs = plant_gap(plant_effects(-0.03))
    gone = runs["run_id"] == "conv2_3x3_reg-5"
    if lost == "broken":
        verdict = judge(GAP, runs[~gone], broken=frozenset({("conv2_3x3_reg", 5)}))
    else:
        verdict = judge(GAP, runs.assign(**{"final/gap_honest": runs["final/gap_honest"].mask(gone)}))
    assert (verdict.verdict, verdict.n_seeds) == ("INCONCLUSIVE", 5)
    assert say_verdict(verdict).count("conv2_3x3_reg seed 5 are missing or not finite, which is not by chance") == 1
    assert "So it cannot count as SUPPORTED." in say_verdict(verdict)


def test_a_headline_is_blocked_by_its_parts():
    runs = plant_collapse("conv3_3x3_reg", range(6), 0.3)
    _, error, headline = judge_claims([GAP, ERROR, HEADLINE], runs)
    assert (error.verdict, headline.verdict) == ("INCONCLUSIVE",) * 2
    assert (headline.outcome_with, headline.without.outcome) == ("REFUTED", "SUPPORTED")
    assert "conv3_3x3_reg did not train" in say_verdict(headline)


def test_a_run_of_the_other_arm_does_not_count():
    level = replace(ERROR, contrast="plain", direction="lower", reference=0.05)
    runs = plant_collapse("conv3_3x3_reg", range(6), 0.3)
    runs["final/test_accuracy"] += 0.0001 * np.random.default_rng(1).normal(size=len(runs))
    assert judge(level, runs).verdict == "SUPPORTED"
    alone = runs[runs["variant"] != "conv2_5x5_reg"]
    kept = judge(level, pd.concat([alone, runs[runs["run_id"] == "conv2_5x5_reg-0"]]))
    assert kept.n_seeds == 6


def test_collapses_of_one_arm_do_not_carry_a_claim():
    """Of 300 studies at the claim's margin, with 3 % of the plain runs collapsed: SUPPORTED in at most alpha."""
    rng = np.random.default_rng(31)
    supported = 0
    for _ in range(300):
        runs = plant_errors(0.001, 0.0)
        noise = 0.001 * rng.normal(size=len(runs))
        fallen = (~runs["regularised"]) & (rng.uniform(size=len(runs)) < 0.03)
        accuracy = (runs["final/test_accuracy"] + noise).mask(fallen, 0.1)
        supported += judge(ERROR, runs.assign(**{"final/test_accuracy": accuracy})).verdict == "SUPPORTED"
    assert supported / 300 <= 0.025 + 3 * (0.025 * 0.975 / 300) ** 0.5


@pytest.mark.parametrize(
    ("classes", "collapsed", "learned"), [(2, 0.54, 0.57), (3, 0.40, 0.41), (10, 0.199, 0.201), (100, 0.019, 0.021)]
)
def test_chance_is_that_of_the_datas_classes(classes, collapsed, learned):
    runs = pd.DataFrame({"run_id": ["a", "b"], "final/test_accuracy": [collapsed, learned]})
    assert find_collapsed(runs.assign(image_shape="32x32x3", classes=classes)) == {"a"}
