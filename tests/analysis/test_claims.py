from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.errors import AnalysisError
from pipeline.report.text.sentences import say_verdict
from pipeline.report.text.twins import say_twins
from pipeline.study.experiment import Experiment, hash_plan
from tests.analysis.studies import (
    DEPTH,
    ERROR,
    GAP,
    HEADLINE,
    NAMES,
    NO_HISTORY,
    ONSET,
    SPREAD,
    TWINS,
    declare,
    judge,
    judge_claims,
    plant_effects,
    plant_errors,
    plant_gap,
)

NO_SPREAD = "so there is no spread to judge by"
SLOPE = "a slope needs twins of 3 different "


@pytest.mark.parametrize(
    ("mean", "spread", "verdict"),
    [
        (-0.03, 0.001, "SUPPORTED"),
        (-0.003, 0.001, "SUPPORTED"),
        (0.03, 0.001, "REFUTED"),
        (0.0, 0.001, "NEGLIGIBLE"),
        (-0.001, 0.02, "INCONCLUSIVE"),
        (-0.004, 0.006, "INCONCLUSIVE"),
        (0.004, 0.006, "INCONCLUSIVE"),
    ],
)
def test_a_planted_effect_gets_its_verdict(mean, spread, verdict):
    assert judge(GAP, plant_gap(plant_effects(mean, spread))).verdict == verdict
    turned = judge(replace(GAP, direction="higher"), plant_gap(plant_effects(-mean, spread)))
    assert turned.verdict == verdict


@pytest.mark.parametrize(
    ("mean", "spread", "verdict", "end"),
    [
        (0.0, 0.0001, "SUPPORTED", "The interval stays below the margin of 0.10 points."),
        (-0.002, 0.0001, "SUPPORTED", "The interval stays below the margin of 0.10 points, and below 0."),
        (0.0006, 0.0001, "SUPPORTED", "The interval stays below the margin of 0.10 points, yet above 0."),
        (0.003, 0.0001, "REFUTED", "All of the interval is beyond the margin of 0.10 points."),
        (
            0.0009,
            0.001,
            "INCONCLUSIVE",
            "The interval holds the margin of 0.10 points; a new study would need about 11 seeds to rule out 0.10 "
            "points (80 % power).",
        ),
    ],
)
def test_not_higher_is_held_against_its_margin(mean, spread, verdict, end):
    judged = judge(ERROR, plant_errors(mean, spread))
    assert judged.verdict == verdict
    assert end in say_verdict(judged)
    assert judged.null == 0.001
    assert judged.unit == "fraction"


def test_the_numbers_are_those_of_the_paired_t_test():
    effects = plant_effects(-0.004, 0.004) + np.random.default_rng(1).normal(0, 0.002, size=(6, 3))
    runs = plant_gap(effects)
    verdict = judge(GAP, runs)
    means = runs.groupby(["regularised", "seed"])["final/gap_honest"].mean()
    expected = stats.ttest_rel(means[True], means[False])
    assert verdict.effect == pytest.approx(effects.mean())
    assert verdict.p == pytest.approx(expected.pvalue) == verdict.p_adjusted
    assert verdict.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert dict(verdict.per_seed) == pytest.approx(dict(enumerate(effects.mean(axis=1))))
    assert (verdict.n_seeds, verdict.twins, verdict.twins_agree) == (6, 3, (effects.mean(axis=0) < 0).sum())
    assert set(verdict.run_ids) == set(runs["run_id"])
    assert verdict.reduction[0] == pytest.approx(1 - stats.gmean(means[True].to_numpy() / means[False].to_numpy()))


def test_the_sentence_says_it_all():
    assert say_verdict(judge(GAP, plant_gap(plant_effects(-0.03)))) == (
        "Regularisation lowered the honest loss gap by 0.0300 nats (95 % CI -0.0307 to -0.0293 over 6 seeds; "
        "lower in 3 of 3 twins, from -0.0300 to -0.0300; epoch 25; relative to plain -42.3 %, 95 % CI -53.8 to -27.9; "
        "judged at alpha 0.05, adjusted p < 0.001, sign-flip p = 0.031). "
        "The interval is on the claim's side of 0; all of the interval exceeds the smallest effect of interest, "
        "0.0050 nats. The interval is about these networks; over networks like them (95 %) the mean would lie in "
        "-0.0307 to -0.0293, and a new one in -0.0321 to -0.0279 (suggestive: only 3 twins)."
    )


def test_a_sentence_says_how_relevant_an_effect_is():
    assert "yet all of the interval is below the smallest" in say_verdict(judge(GAP, plant_gap(plant_effects(-0.003))))
    assert "0.0050 nats, is open" in say_verdict(judge(GAP, plant_gap(plant_effects(-0.005))))


def test_pairs_are_made_by_seed_and_not_by_the_order_of_rows():
    rng = np.random.default_rng(4)
    runs = plant_gap(plant_effects(-0.003) + rng.normal(0, 0.0005, size=(6, 3)))
    shuffled = judge(GAP, runs.sample(frac=1, random_state=7))
    assert shuffled.verdict == "SUPPORTED"
    assert shuffled.per_seed == judge(GAP, runs).per_seed


def test_a_seed_that_is_there_twice_is_refused():
    runs = plant_gap(plant_effects(0.0))
    with pytest.raises(
        AnalysisError, match=r"^conv2_3x3 has more than one run with seed 0; choose one run for each seed$"
    ):
        judge(GAP, pd.concat([runs, runs.head(1)]))


def test_incomplete_seeds_are_left_out_and_said():
    runs = plant_gap(plant_effects(-0.03))
    lacking = runs[(runs["variant"] != "conv2_5x5_reg") | (runs["seed"] != 2)]
    lacking = lacking.assign(
        **{"final/gap_honest": lacking["final/gap_honest"].mask(lacking["run_id"] == "conv3_3x3-4")}
    )
    verdict = judge(GAP, lacking)
    assert [seed for seed, _ in verdict.per_seed] == [0, 1, 3, 5]
    assert verdict.verdict == "UNTESTABLE"
    assert say_verdict(verdict).startswith(
        "Cannot be tested: a verdict needs 5 complete seeds, the runs have 4. So far reg"
    )
    assert say_verdict(verdict).endswith(
        " Left out: seed 2 (no finished run of conv2_5x5_reg); seed 4 (conv3_3x3 has no finite gap)."
    )
    assert not any(run_id.endswith(("-2", "-4")) for run_id in verdict.run_ids)


def test_twins_that_never_finished_count_when_the_experiment_declares_them():
    runs = plant_gap(plant_effects(-0.03))
    assert judge(GAP, runs, design=declare(variants=NAMES[:6])).verdict == "SUPPORTED"
    verdict = judge(GAP, runs, design=declare(variants=NAMES[:8]))
    assert (verdict.verdict, verdict.reason) == ("UNTESTABLE", "no seed has all the runs that the claim needs")


@pytest.mark.parametrize(
    ("claim", "runs", "reason"),
    [
        (GAP, plant_gap(plant_effects(-0.03)).iloc[:0], "no run has finished, so there is nothing to judge"),
        (GAP, plant_gap(plant_effects(-0.03)).query("not regularised"), "the experiment has no matched twins"),
        (GAP, plant_gap(plant_effects(-0.03)[:1]), "a verdict needs 5 complete seeds, the runs have 1"),
        (GAP, plant_gap(plant_effects(-0.03, 0.0)), "all seeds gave the same value but for rounding, " + NO_SPREAD),
        (GAP, plant_gap(plant_effects(-0.03, 1e-9)), "all seeds gave the same value but for rounding, " + NO_SPREAD),
        (DEPTH, plant_gap(plant_effects(-0.03, twins=2)), SLOPE + "depths, and they have 2"),
        (DEPTH, plant_gap(plant_effects(-0.03, twins=3)), SLOPE + "depths, and they have 2 and 3"),
        (replace(DEPTH, by="kernel"), plant_gap(plant_effects(-0.03)), SLOPE + "kernels, and they have 3 and 5"),
        (ONSET, plant_gap(plant_effects(-0.03)), "no seed has all the runs that the claim needs"),
        (
            ONSET,
            plant_gap(plant_effects(-0.03)).assign(epochs=17),
            "no run was trained for the 18 epochs that the window needs",
        ),
    ],
)
def test_what_cannot_be_tested_says_why(claim, runs, reason):
    verdict = judge(claim, runs)
    assert (verdict.verdict, verdict.reason) == ("UNTESTABLE", reason)
    assert say_verdict(verdict).startswith(f"Cannot be tested: {reason}.")
    assert np.isnan(verdict.p_adjusted)


def plan(*claims, seeds=(0, 1, 2, 3, 4, 5)):
    return hash_plan(Experiment(name="planned", variants=NAMES[:6], seeds=seeds, claims=claims))


def test_what_is_as_it_was_frozen_keeps_its_verdict():
    kept = (HEADLINE, ERROR, GAP)
    verdicts = judge_claims(kept, plant_errors(0.0), NO_HISTORY, declare(plan(GAP, ERROR, HEADLINE), plan(*kept)))
    assert [verdict.verdict for verdict in verdicts] == ["SUPPORTED"] * 3


def test_a_changed_claim_is_deviated_with_what_rests_on_it_alone():
    changed = (replace(GAP, smallest_effect=0.004), ERROR, HEADLINE)
    verdicts = judge_claims(changed, plant_errors(0.0), NO_HISTORY, declare(plan(GAP, ERROR, HEADLINE), plan(*changed)))
    assert [verdict.verdict for verdict in verdicts] == ["DEVIATED", "SUPPORTED", "DEVIATED"]
    assert [part.verdict for part in verdicts[2].parts] == ["DEVIATED", "SUPPORTED"]
    assert verdicts[0].outcome == "SUPPORTED"
    assert say_verdict(verdicts[0]).startswith(
        "Changed after the first run, so no verdict counts; as declared now it would be SUPPORTED: Regularisation"
    )


def test_an_added_claim_is_deviated_and_leaves_the_others_alone():
    more = (GAP, ERROR)
    verdicts = judge_claims(more, plant_errors(0.0), NO_HISTORY, declare(plan(GAP), plan(*more)))
    assert [verdict.verdict for verdict in verdicts] == ["SUPPORTED", "DEVIATED"]


@pytest.mark.parametrize("frozen", [{}, plan(GAP, ERROR, seeds=(0, 1, 2, 3, 4)), plan(GAP, ERROR, ONSET)])
def test_a_changed_plan_or_a_claim_taken_away_makes_every_claim_deviated(frozen):
    verdicts = judge_claims((GAP, ERROR), plant_errors(0.0), NO_HISTORY, declare(frozen, plan(GAP, ERROR)))
    assert [verdict.verdict for verdict in verdicts] == ["DEVIATED"] * 2


def test_a_family_is_corrected_together_with_what_cannot_be_tested():
    runs = plant_gap(plant_effects(-0.0011, 0.0014))
    alone = judge(GAP, runs)
    both = judge_claims([GAP, ONSET], runs, NO_HISTORY)[0]
    apart = judge_claims([GAP, replace(ONSET, family="other")], runs, NO_HISTORY)[0]
    assert both.p_adjusted == pytest.approx(2 * alone.p)
    assert apart.p_adjusted == alone.p_adjusted
    assert (alone.level, both.level) == pytest.approx((0.95, 0.975))


@pytest.mark.parametrize(
    ("gap", "error", "spread", "verdict"),
    [
        (-0.03, 0.0, 0.0001, "SUPPORTED"),
        (-0.03, 0.005, 0.0001, "REFUTED"),
        (0.0, 0.0, 0.0001, "NEGLIGIBLE"),
        (-0.03, 0.0009, 0.001, "INCONCLUSIVE"),
        (-0.03, 0.0018, 0.001, "REFUTED"),
        (-0.002, 0.0018, 0.001, "INCONCLUSIVE"),
    ],
)
def test_a_headline_needs_all_its_parts(gap, error, spread, verdict):
    runs = plant_errors(error, spread)
    runs["final/gap_honest"] = plant_gap(plant_effects(gap, 0.006))["final/gap_honest"]
    headline = judge_claims([GAP, ERROR, HEADLINE], runs, NO_HISTORY)[2]
    assert headline.verdict == verdict
    assert [part.name for part in headline.parts] == ["gap", "error"]
    assert headline.p >= max(part.p for part in headline.parts)


def test_a_headline_with_a_part_that_cannot_be_tested_cannot_be_either():
    runs = plant_errors(0.0)
    headline = judge_claims([GAP, ERROR, HEADLINE], runs[runs["seed"] < 2], NO_HISTORY)[2]
    assert headline.verdict == "UNTESTABLE"
    assert say_verdict(headline) == (
        "Cannot be tested, as a part cannot: a verdict needs 5 complete seeds, the runs have 2. "
        "Parts: gap (UNTESTABLE), error (UNTESTABLE)."
    )


def test_by_depth_is_the_slope_over_the_twins():
    depths = np.array([plain.depth_counted for plain, _ in TWINS])
    effects = plant_effects(-0.01, twins=8) - (0.002 + 0.0002 * SPREAD) * depths
    verdict = judge(DEPTH, plant_gap(effects))
    slopes = [stats.linregress(depths, row).slope for row in effects]
    assert [slope for _, slope in verdict.per_seed] == pytest.approx(slopes)
    assert (verdict.verdict, verdict.unit) == ("SUPPORTED", "nats per convolution")
    assert "effect by depth (nats): -0.0140 with 2, -0.0160 with 3, -0.0200 with 5 and -0.0240 with 7;" in say_verdict(
        verdict
    )
    assert [twin.effect for twin in verdict.by_twin] == pytest.approx(effects.mean(axis=0))


def test_a_slope_through_effects_that_turn_back_says_so():
    turning = np.array([-0.034, -0.033, -0.053, -0.052, -0.05, -0.049])
    verdict = judge(DEPTH, plant_gap(turning + 0.0001 * SPREAD * np.arange(6)))
    assert verdict.verdict == "SUPPORTED"
    said = "effect by depth (nats): -0.0335 with 2, -0.0525 with 3 and -0.0495 with 5, not a steady trend"
    assert say_twins(verdict) == said


LOOKS = declare(looks=(6, 12), seeds=tuple(range(12)))


@pytest.mark.parametrize("spread", np.linspace(0.0001, 0.004, 14))
@pytest.mark.parametrize("error", [0.0, 0.0008, 0.002, 0.005])
@pytest.mark.parametrize("gap", [-0.03, 0.0])  # with 0 the family takes more of alpha than the parts alone would
def test_a_headline_never_contradicts_its_parts(error, spread, gap):
    others = [replace(GAP, name=name) for name in ("third", "fourth", "fifth")]
    runs = plant_errors(error, spread)
    runs["final/gap_honest"] = plant_gap(plant_effects(gap, 0.006))["final/gap_honest"]
    verdicts = judge_claims([GAP, ERROR, *others, HEADLINE], runs, NO_HISTORY, LOOKS)
    headline, said = verdicts[-1], say_verdict(verdicts[-1])
    parts = {part.outcome for part in headline.parts}
    assert (headline.outcome == "REFUTED") <= ("REFUTED" in parts)
    assert headline.level == pytest.approx(0.975)
    if headline.outcome == "SUPPORTED":
        assert "All parts hold at alpha 0.025, this look's share, each" in said
        assert max(part.p for part in headline.parts) <= 0.025
    assert "REFUTED" not in parts or headline.outcome == "REFUTED"


def test_a_seed_that_is_not_due_yet_is_not_left_out():
    runs = plant_gap(-0.03 + 0.001 * np.random.default_rng(1).normal(size=(8, 3)))
    partial = runs[(runs["seed"] < 7) | (runs["variant"] == "conv2_3x3")]
    assert judge(GAP, partial, design=LOOKS).left_out == ()
    assert judge(GAP, partial).left_out[0].startswith("seed 7 (no finished run of conv2_3x3_reg, ")
