"""Simulated studies whose truth is known: how often the verdicts are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.study.claims import Claim
from tests.analysis.studies import (
    DEPTH,
    ERROR,
    GAP,
    HEADLINE,
    NAMES,
    NO_HISTORY,
    ONSET,
    bound_rate,
    draw_curves,
    judge,
    judge_claims,
    plant_gap,
    plant_history,
    plant_runs,
)

pytestmark = pytest.mark.slow

STUDIES = 150  # of those that go through the detector of onsets


def test_intervals_say_what_the_adjusted_p_says():
    rng = np.random.default_rng(8)
    seen = set()
    for _ in range(20):
        noise = rng.normal(size=(6, 8))
        runs = plant_gap(-0.0012 + 0.0012 * rng.normal(size=(6, 1)) + 0.001 * noise)
        runs["final/test_accuracy"] = 0.99 + 0.0008 * rng.normal(size=len(runs))
        for verdict in judge_claims([GAP, ERROR, DEPTH], runs, NO_HISTORY):
            low, high = verdict.interval
            assert (low > verdict.null or high < verdict.null) == (verdict.p_adjusted <= 0.05)
            seen.add(round(0.05 / (1 - verdict.level)))
    assert seen == {1, 2, 3}


@pytest.fixture(autouse=True)
def uncollected(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels collects at each call


def count_false(claim: Claim, plant) -> float:
    """Share of 1,000 studies in which a claim at its null is SUPPORTED."""
    rng = np.random.default_rng(12)
    verdicts = [judge(claim, plant(rng)).verdict for _ in range(1000)]
    return verdicts.count("SUPPORTED") / 1000


def plant_null(rng):
    return plant_gap(0.01 * rng.normal(size=(5, 1)) + 0.01 * rng.normal(size=(5, 2)))


def plant_margin(rng):
    error = np.array([0.0, 0.001] * 2) + 0.001 * rng.normal(size=(5, 4))
    return plant_runs(5, {"final/test_accuracy": 0.99 - error}, NAMES[:4])


@pytest.mark.parametrize(("claim", "plant"), [(GAP, plant_null), (ERROR, plant_margin)])
def test_studies_at_the_null_or_at_the_margin_are_rarely_supported(claim, plant):
    assert 0.01 <= count_false(claim, plant) <= bound_rate(0.025)  # half of 0.05, as the interval is two-sided


@pytest.mark.parametrize("cluster", [0.0, 0.25])
def test_shares_at_their_reference_are_rarely_supported(cluster):
    rng = np.random.default_rng(13)
    runs = plant_runs(5, {}, NAMES[:8])
    effects, verdicts = [], []
    for _ in range(STUDIES):
        chance = np.repeat(0.5 + rng.choice([-cluster, cluster], size=5), 8)
        elsewhere = rng.choice([3, 99], size=len(runs))
        turns = np.where(rng.uniform(size=len(runs)) < chance, rng.integers(10, 14, size=len(runs)), elsewhere)
        verdict = judge(ONSET, runs, plant_history(runs, draw_curves(turns, 0.01, 0.001, rng, fall=1.0)))
        effects.append(verdict.effect)
        verdicts.append(verdict.verdict)
    assert np.mean(effects) == pytest.approx(0.5, abs=0.03)
    assert "UNTESTABLE" not in verdicts
    assert verdicts.count("SUPPORTED") / STUDIES <= bound_rate(0.05, STUDIES)


def test_a_headline_at_its_null_is_rarely_supported():
    rng = np.random.default_rng(14)
    supported = 0
    for _ in range(300):
        runs = plant_gap(0.01 * rng.normal(size=(5, 2)))
        runs["final/test_accuracy"] = 0.99 + 0.00001 * rng.normal(size=len(runs))
        supported += judge_claims([GAP, ERROR, HEADLINE], runs, NO_HISTORY)[2].verdict == "SUPPORTED"
    assert supported / 300 <= bound_rate(0.025, 300)
