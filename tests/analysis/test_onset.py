from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import special

from pipeline.analysis.onset import THRESHOLD, _fit_curves, date_curves, find_onsets
from pipeline.errors import AnalysisError
from pipeline.report.text.sentences import say_verdict
from tests.analysis.studies import EPOCHS, ONSET, draw_curves, judge, plant_history, plant_runs
from tests.conftest import slow

RISE = 0.005
FALLS = (0.1, 0.5, 1.5)


def locate_onset(losses, smallest_rise=0.0):
    return date_curves(np.atleast_2d(losses), smallest_rise)[0]


def draw_noise(curves, epochs, rng, lag=0.0, heavy=False):
    """Noise (curves, epochs) of SD 1, autoregressive with this correlation from one epoch to the next, maybe t3."""
    draws = rng.standard_t(3, size=(curves, epochs + 20)) / 3**0.5 if heavy else rng.normal(size=(curves, epochs + 20))
    noise = draws.copy()
    for epoch in range(1, epochs + 20):
        noise[:, epoch] = lag * noise[:, epoch - 1] + (1 - lag**2) ** 0.5 * draws[:, epoch]
    return noise[:, 20:]


def find_true_onsets(turns, slope, **shape):
    """First epoch at which the curve without noise lies more than RISE above its minimum, for good."""
    curves = draw_curves(turns, slope, 0.0, np.random.default_rng(0), **shape)
    low = curves <= curves.min(axis=1, keepdims=True) + RISE
    return curves.shape[1] - np.flip(low, axis=1).argmax(axis=1) + 1


@pytest.mark.parametrize("epochs", [8, 25, *slow(10, 15, 18, 50)])
@pytest.mark.parametrize("lag", [0.3, *slow(0.0)])
@pytest.mark.parametrize("heavy", [True, *slow(False)])
def test_plateaus_fire_in_at_most_five_percent(epochs, lag, heavy):
    """Without any smallest rise; at 4,000 plateaus the Monte-Carlo error is 0.3 points."""
    losses = 0.05 + 0.0036 * draw_noise(4000, epochs, np.random.default_rng(epochs), lag, heavy)
    assert np.isfinite(locate_onset(losses)).mean() <= 0.05
    assert np.mean(losses[:, -1] > losses.min(axis=1)) > 0.85  # what the naive rule does


def test_the_threshold_is_that_of_the_worst_plateaus():
    losses = draw_noise(4000, 25, np.random.default_rng(1), 0.3)
    without, hinged, _ = _fit_curves(losses)
    assert np.quantile((without - hinged) / hinged * (25 - 5), 0.95) == pytest.approx(THRESHOLD, rel=0.12)


@pytest.mark.parametrize("epochs", [25, *slow(18)])
@pytest.mark.parametrize("fall", [0.5, *slow(0.1, 1.5)])
@pytest.mark.parametrize("speed", [0.5, 6.0, *slow(3.0)])
def test_falling_curves_fire_in_at_most_five_percent(epochs, fall, speed):
    never = np.full(4000, 99)
    curves = draw_curves(never, 0.0, 0.003, np.random.default_rng(1), epochs=epochs, fall=fall, speed=speed)
    assert np.isfinite(locate_onset(curves)).mean() <= 0.05


@pytest.mark.parametrize("power", [1.0, *slow(0.5, 2.0)])
def test_curves_that_fall_as_a_power_fire_in_at_most_five_percent(power):
    curves = 0.5 * np.arange(1, 26) ** -power + 0.0036 * np.random.default_rng(2).normal(size=(4000, 25))
    assert np.isfinite(locate_onset(curves, RISE)).mean() <= 0.05


@pytest.mark.parametrize("heavy", [True, *slow(False)])
@pytest.mark.parametrize(("noise", "within"), [(0.001, 0.97), (0.002, 0.9), (0.0036, 0.75)])
@pytest.mark.parametrize("slope", [0.0015, *slow(0.003, 0.005)])
def test_planted_onsets_are_dated_within_one_epoch(slope, noise, within, heavy):
    """At 3,000 curves the Monte-Carlo error is below 0.8 points; 0.0015 nats an epoch is the slow rise of the audit."""
    first = 10 - int(np.ceil(RISE / slope + 0.01))
    turns = np.repeat(np.arange(first, first + 6), 500)
    rng = np.random.default_rng(3)
    losses = draw_curves(turns, slope, 0.0, rng) + noise * draw_noise(len(turns), EPOCHS, rng, heavy=heavy)
    error = np.abs(locate_onset(losses, RISE) - find_true_onsets(turns, slope))
    assert (error <= 1).mean() >= within


@pytest.mark.parametrize("fall", FALLS)
def test_the_noise_is_that_around_the_curve(fall):
    curves = draw_curves(np.full(500, 12), 0.002, 0.003, np.random.default_rng(6), epochs=25, fall=fall)
    assert np.median(date_curves(curves, RISE)[1]) == pytest.approx(0.003, rel=0.2)


def judge_shares(inside, alpha=0.05):
    """(SUPPORTED, REFUTED) rates of "more than half", of runs (studies, seeds, runs) in or out of the window."""
    seeds, size = inside.shape[1], inside.shape[2]
    shares, counts = inside.mean(axis=2), inside.sum(axis=(1, 2))
    chance = (counts + 1) / (seeds * size + 2)
    sd = np.maximum(shares.std(axis=1, ddof=1), np.sqrt(chance * (1 - chance) / size))
    half = -special.stdtrit(seeds - 1, alpha / 2) * sd / seeds**0.5
    mean = shares.mean(axis=1)
    return (mean - half > 0.5).mean(), (mean + half < 0.5).mean()


@pytest.mark.parametrize("noise", [0.0045, *slow(0.002, 0.0036)])
@pytest.mark.parametrize(("share", "supported", "refuted"), [(1.0, 1.0, 0.0), (0.6, 0.2, 0.05), (0.5, 0.05, 0.05)])
def test_shares_are_judged_as_they_are(noise, share, supported, refuted):
    """150 studies of 5 seeds x 6 runs; elsewhere is early or never. The Monte-Carlo error is at most 1.8 points."""
    rng = np.random.default_rng(13)
    size = (150, 5, 6)
    chosen = rng.uniform(size=size) < share
    turns = np.where(chosen, rng.integers(8, 14, size=size), rng.choice([2, 99], size=size)).ravel()
    onsets = locate_onset(draw_curves(turns, 0.003, noise, rng), RISE).reshape(size)
    found = judge_shares((onsets >= 10) & (onsets <= 15))
    assert found[1] <= refuted
    assert found[0] >= 0.95 if share == 1 else found[0] <= supported


@pytest.mark.parametrize(("noise", "refuted"), [(0.0036, 0.01), *slow((0.0045, 0.04), (0.0049, 0.1))])
def test_slow_rises_are_seen_outside_the_window_too_often(noise, refuted):
    """100 studies of 15 seeds x 6 runs that all begin to overfit in epochs 11 to 14; the error is 1 to 3 points."""
    rng = np.random.default_rng(13)
    size = (100, 15, 6)
    turns = rng.uniform(11, 14.5, size=size).ravel() - RISE / 0.0008
    onsets = locate_onset(draw_curves(turns, 0.0008, noise, rng), RISE).reshape(size)
    found = judge_shares((onsets >= 10) & (onsets <= 15), alpha=0.0167)
    assert found == (0, pytest.approx(refuted, abs=0.02))


def test_an_onset_by_hand():
    epoch = np.arange(1, 21)
    losses = 0.03 + 0.004 * np.maximum(0, epoch - 8)
    assert locate_onset(losses) == 9
    assert locate_onset(losses, 0.005) == 10
    assert locate_onset(losses, 0.009) == 11
    assert np.isnan(locate_onset(losses, 0.1))


def test_a_rise_that_ends_again_or_comes_too_late_is_no_onset():
    noise = 0.001 * np.random.default_rng(1).normal(size=20)
    bump, late = np.full(20, 0.03) + noise, np.full(20, 0.03) + noise
    bump[8:12] += 0.03
    late[18:] += [0.03, 0.06]
    assert np.isnan(locate_onset([bump, late], RISE)).all()
    assert np.isnan(locate_onset([0.5, 0.1, 0.2, 0.4, 0.8]))


def test_onsets_of_runs_ignore_the_order_of_rows_and_leave_out_broken_curves():
    runs = plant_runs(1, {}).head(4)
    losses = draw_curves([8, 99, 12, 12], 0.01, 0.0005, np.random.default_rng(0))
    losses[2, 5] = np.nan
    history = plant_history(runs, losses).drop(index=3 * EPOCHS + 4)
    shuffled = pd.concat([history, history.assign(metric="test/loss", value=0.0)]).sample(frac=1, random_state=0)
    onsets = find_onsets(shuffled, RISE)
    assert list(onsets.index) == sorted(runs["run_id"][:2])
    assert onsets["onset"].tolist() == pytest.approx([9, np.nan], nan_ok=True)
    assert onsets["epochs"].tolist() == [25, 25]
    assert onsets["noise"].tolist() == pytest.approx([0.0005] * 2, rel=0.6)
    short = find_onsets(plant_history(runs.head(1), np.ones((1, 7)))).iloc[0]
    assert short.tolist() == pytest.approx([7, np.nan, np.nan], nan_ok=True)


def test_an_epoch_that_is_there_twice_is_refused():
    history = plant_history(plant_runs(1, {}).head(1), np.ones((1, 9)))
    with pytest.raises(AnalysisError, match=r"^the history has an epoch of honest/test_loss twice; remove"):
        find_onsets(pd.concat([history, history.tail(1)]))


@pytest.mark.parametrize(("early", "verdict"), [(0, "SUPPORTED"), (8, "REFUTED"), (4, "INCONCLUSIVE")])
def test_the_share_of_onsets_is_held_against_its_reference(early, verdict):
    runs = plant_runs(6, {})
    order = np.arange(len(runs)) // 2 % 8
    turns = np.where(runs["regularised"], 99, np.where(order < early, 3, 11))
    history = plant_history(runs, draw_curves(turns, 0.01, 0.0005, np.random.default_rng(0)))
    judged = judge(ONSET, runs, history)
    assert judged.verdict == verdict
    assert judged.effect == pytest.approx(1 - early / 8)
    assert len(judged.run_ids) == 48  # of the one arm alone
    assert 0 <= judged.interval[0] < judged.interval[1] <= 1
    shrinks = judge(replace(ONSET, contrast="regularised - plain", direction="lower", reference=0.0), runs, history)
    assert shrinks.effect == pytest.approx(early / 8 - 1)


def test_a_broken_curve_of_the_other_arm_loses_no_seed():
    runs = plant_runs(6, {})
    turns = np.where(runs["regularised"], 99, 11)
    losses = draw_curves(turns, 0.01, 0.0005, np.random.default_rng(0))
    losses[runs["run_id"] == "conv2_3x3_reg-2"] = np.nan
    assert judge(ONSET, runs, plant_history(runs, losses)).n_seeds == 6
    losses[runs["run_id"] == "conv2_3x3-3"] = np.nan
    judged = judge(ONSET, runs, plant_history(runs, losses))
    assert (judged.n_seeds, judged.verdict) == (5, "INCONCLUSIVE")
    assert judged.left_out == ("seed 3 (conv2_3x3 has no whole curve of 18 epochs or more)",)


def test_runs_that_end_too_soon_after_the_window_show_no_onset():
    runs = plant_runs(6, {})
    curves = draw_curves(np.full(len(runs), 11), 0.01, 0.0005, np.random.default_rng(0))
    assert judge(ONSET, runs.assign(epochs=18), plant_history(runs, curves[:, :18])).verdict == "SUPPORTED"
    verdict = judge(ONSET, runs.assign(epochs=17), plant_history(runs, curves[:, :17]))
    reason = "no run was trained for the 18 epochs that the window needs"
    assert (verdict.verdict, verdict.reason) == ("UNTESTABLE", reason)


@pytest.mark.parametrize(("noise", "verdict"), [(0.004, "SUPPORTED"), (0.012, "UNTESTABLE")])
def test_an_onset_that_noise_hides_cannot_be_tested(noise, verdict):
    runs = plant_runs(6, {})
    turns = np.where(runs["regularised"], 99, 12)
    noises = np.where(runs["regularised"], 0.05, noise)[:, None]  # that of the other arm does not count
    judged = judge(ONSET, runs, plant_history(runs, draw_curves(turns, 0.01, noises, np.random.default_rng(0))))
    assert judged.verdict == verdict
    if verdict == "UNTESTABLE":
        said = r"the noise of the test loss, 0\.01\d nats an epoch in the median run, hides a rise of 0\.005"
        said += "; more seeds do not change that"
        assert re.fullmatch(said, judged.reason)
        assert say_verdict(judged) == f"Cannot be tested: {judged.reason}.", "a share of those seen would mislead"
        assert (judged.n_seeds, judged.by_twin, judged.seeds_needed) == (0, (), None)
