from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from pipeline.analysis.claims.design import NO_HISTORY, Records
from pipeline.analysis.claims.prospects import foresee
from pipeline.analysis.statistics import bound_sd, find_power, find_power_of_none
from pipeline.report.text.lessons import say_prospects
from pipeline.study.experiment import Experiment
from tests.analysis.studies import (
    DEPTH,
    ERROR,
    GAP,
    HEADLINE,
    NAMES,
    ONSET,
    draw_curves,
    plant_effects,
    plant_errors,
    plant_gap,
    plant_history,
    plant_runs,
)

NONE = Records(runs=plant_gap(plant_effects(0.0)).iloc[:0], history=NO_HISTORY)


def declare(*claims, **more):
    given = {"name": "planned", "variants": NAMES[:6], "seeds": tuple(range(15)), "claims": claims}
    return Experiment(**given | more)


@pytest.mark.parametrize("size", [0.3, 0.6, 1.0])
def test_power_agrees_with_statsmodels(size):
    expected = TTestPower().power(effect_size=size, nobs=15, alpha=0.01, alternative="two-sided")
    assert find_power(2.0, 2 * size, 15, 0.01) == pytest.approx(expected, abs=1e-3)


def test_the_chance_of_negligible_is_that_of_the_interval_within():
    """At 20,000 studies the Monte-Carlo error is 0.3 points; the formula is approximate."""
    draws = np.random.default_rng(1).normal(size=(20_000, 15))
    half = 2.1448 * draws.std(axis=1, ddof=1) / 15**0.5
    within = (np.abs(draws.mean(axis=1)) + half < 1.0).mean()
    assert find_power_of_none(1.0, 1.0, 15) == pytest.approx(within, abs=0.03)
    assert find_power_of_none(1.0, 0.1, 15) == 0


def test_what_a_design_can_never_reach_is_said_before_it_runs():
    few = foresee(declare(GAP, seeds=(0, 1)), NONE)[0]
    assert few.obstacle == "a verdict needs 5 seeds, and the experiment declares 2"
    slope = foresee(declare(DEPTH), NONE)[0]
    assert slope.obstacle == "a slope needs twins of 3 different depths, and they have 2 and 3"
    alone = foresee(declare(GAP, variants=NAMES[:1]), NONE)[0]
    assert alone.obstacle == "the experiment has no matched twins"
    experiment = declare(DEPTH, GAP)
    lines = say_prospects(experiment, foresee(experiment, NONE))
    assert lines == [
        "What the claims can come to with 15 seeds:",
        f"  depth  UNTESTABLE: {slope.obstacle}",
        "  gap    SUPPORTED, REFUTED, NEGLIGIBLE or INCONCLUSIVE",
        "  with what power: unknown until two seeds are finished",
    ]


def test_power_comes_from_the_spread_that_is_stored_and_the_last_look():
    runs = plant_errors(0.0, 0.001)
    experiment = declare(GAP, ERROR, HEADLINE, looks=(5, 10, 15))
    gap, error = foresee(experiment, Records(runs=runs, history=NO_HISTORY))
    assert (gap.alpha, error.alpha) == pytest.approx((0.05 / 3 / 2,) * 2)
    assert error.sd == pytest.approx(bound_sd(0.001 * np.std([-1, -0.5, 0, 0.5, 1, 0], ddof=1), 6))
    assert error.power == find_power(error.sd, 0.001, 15, error.alpha)
    lines = say_prospects(experiment, [gap, error])
    chance = f"SUPPORTED in {100 * error.power:.0f} % of studies if there is no difference (margin 0.10 points)"
    assert f"  error  {chance}" in lines
    assert lines[-1] == "  both   as its parts (gap, error), which must all hold"
    single = foresee(declare(replace(GAP, family="own"), ERROR), Records(runs=runs, history=NO_HISTORY))
    assert single[0].alpha == 0.05


def test_noise_that_hides_an_onset_is_said_before_all_seeds_are_spent():
    runs = plant_runs(3, {})
    curves = draw_curves(np.full(len(runs), 12), 0.01, 0.012, np.random.default_rng(0))
    records = Records(runs=runs, history=plant_history(runs, curves))
    experiment = declare(ONSET, variants=NAMES)
    (line,) = say_prospects(experiment, foresee(experiment, records))[1:]
    assert line.startswith("  onset  UNTESTABLE, judging by the runs so far: the noise of the test loss, 0.01")
