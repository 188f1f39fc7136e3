from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from statsmodels.duration.survfunc import SurvfuncRight

from pipeline.analysis.onset import NOISE_FACTOR, estimate_onset_share, find_margin, find_onsets, locate_onset
from pipeline.errors import AnalysisError
from tests.analysis.studies import EPOCHS, ONSET, draw_curves, judge, plant_history, plant_runs

RISE = 0.005
FALLS = (0.1, 0.5, 1.5)


def find_true_onsets(turns, slope, margin, **shape):
    """First epoch at which the curve without noise lies more than `margin` above its minimum, for good."""
    curves = draw_curves(turns, slope, 0.0, np.random.default_rng(0), **shape)
    low = curves <= curves.min(axis=1, keepdims=True) + margin
    return curves.shape[1] - np.flip(low, axis=1).argmax(axis=1) + 1


@pytest.mark.parametrize("epochs", [8, 10, 15, 25, 50])
def test_plateaus_fire_in_at_most_five_percent(epochs):
    losses = np.random.default_rng(epochs).normal(0.05, 0.003, size=(10_000, epochs))
    assert np.isfinite(locate_onset(losses)).mean() <= 0.05
    assert np.mean(losses[:, -1] > losses.min(axis=1)) > 0.85  # what the naive rule does


@pytest.mark.parametrize("epochs", [18, 25])
@pytest.mark.parametrize("fall", FALLS)
@pytest.mark.parametrize("speed", [0.5, 3.0, 6.0])
def test_falling_curves_fire_in_at_most_five_percent(epochs, fall, speed):
    never = np.full(10_000, 99)
    curves = draw_curves(never, 0.0, 0.003, np.random.default_rng(1), epochs=epochs, fall=fall, speed=speed)
    assert np.isfinite(locate_onset(curves)).mean() <= 0.05


@pytest.mark.parametrize(("slope", "noise"), [(0.002, 0.001), (0.004, 0.002), (0.006, 0.003), (0.02, 0.01)])
@pytest.mark.parametrize(
    ("epochs", "fall", "speed"),
    # the slow falls from high up end so late that 18 epochs do not show the rise
    [(18, fall, 1.5) for fall in FALLS]
    + [(18, 0.1, 2.5)]
    + [(25, fall, speed) for fall in FALLS for speed in (1.5, 2.5)],
)
def test_planted_onsets_are_found_within_one_epoch_in_ninety_percent(slope, noise, epochs, fall, speed):
    shape = {"epochs": epochs, "fall": fall, "speed": speed}
    turns = np.repeat(np.arange(5, epochs - 8), 300)
    found = locate_onset(draw_curves(turns, slope, noise, np.random.default_rng(2), **shape), RISE)
    true = find_true_onsets(turns, slope, max(RISE, NOISE_FACTOR * noise), **shape)
    assert true.max() <= epochs - 4  # one found an epoch later must still be confirmed
    assert (np.abs(found - true) <= 1).mean() >= 0.9


@pytest.mark.parametrize("fall", FALLS)
def test_the_descent_does_not_widen_the_margin(fall):
    curves = draw_curves(np.full(500, 99), 0.0, 0.003, np.random.default_rng(6), epochs=18, fall=fall)
    assert np.median(find_margin(curves)) == pytest.approx(NOISE_FACTOR * 0.003, rel=0.15)
    assert find_margin(curves, 0.1).tolist() == [0.1] * 500


def test_an_onset_by_hand():
    losses = np.array([0.09, 0.06, 0.03, 0.03, 0.03, 0.03, 0.06, 0.09, 0.12, 0.15, 0.18])
    # smoothed from epoch 2: .06 .04 .03 .03 .04 .06 .09 .12 .15; of the last 6 third differences two are .03 in size
    assert find_margin(losses) == pytest.approx(NOISE_FACTOR * (2 * 0.03**2 / 6 / 20) ** 0.5)
    assert locate_onset(losses) == 6
    assert locate_onset(losses, 0.02) == 7
    assert locate_onset(losses, 0.035) == 8
    assert np.isnan(locate_onset(losses, 0.1))


def test_a_rise_that_ends_again_or_comes_too_late_is_no_onset():
    bump = np.full(20, 0.03)
    bump[8:12] = 0.06
    late = np.full(20, 0.03)
    late[18:] = [0.06, 0.09]
    early = np.full(20, 0.03)
    early[17:] = [0.06, 0.09, 0.12]
    assert np.isnan(locate_onset([bump, late])).all()
    assert locate_onset(early) == 17
    assert np.isnan(locate_onset([0.5, 0.1, 0.2, 0.4, 0.8]))


def test_onsets_of_runs_ignore_the_order_of_rows_and_leave_out_broken_curves():
    runs = plant_runs(1, {}).head(4)
    losses = draw_curves([8, 99, 12, 12], 0.01, 0.0005, np.random.default_rng(0))
    losses[2, 5] = np.nan
    history = plant_history(runs, losses).drop(index=3 * EPOCHS + 4)
    shuffled = pd.concat([history, history.assign(metric="test/loss", value=0.0)]).sample(frac=1, random_state=0)
    onsets = find_onsets(shuffled, RISE)
    assert list(onsets.index) == sorted(runs["run_id"][:2])
    assert onsets.loc[runs["run_id"][0]].tolist() == [25, 9, RISE]
    assert onsets.loc[runs["run_id"][1]].tolist() == pytest.approx([25, np.nan, RISE], nan_ok=True)
    short = find_onsets(plant_history(runs.head(1), np.ones((1, 7)))).iloc[0]
    assert short.tolist() == pytest.approx([7, np.nan, np.nan], nan_ok=True)


def test_an_epoch_that_is_there_twice_is_refused():
    history = plant_history(plant_runs(1, {}).head(1), np.ones((1, 9)))
    with pytest.raises(AnalysisError, match=r"^the history has an epoch of honest/test_loss twice; remove"):
        find_onsets(pd.concat([history, history.tail(1)]))


def test_the_share_is_that_of_the_runs_where_all_ran_through_the_window():
    onsets = pd.DataFrame({"epochs": 25, "onset": [6, 10, 12, 15, 16, np.nan, np.nan, 14]})
    share = estimate_onset_share(onsets, 10, 15)
    assert share.share == pytest.approx(4 / 8)
    assert (share.n, share.censored) == (8, 2)
    assert share.low < 0.5 < share.high


def test_the_share_agrees_with_statsmodels_where_runs_are_cut_short():
    onsets = pd.DataFrame(
        {
            "epochs": [25, 25, 12, 13, 25, 25, 25, 25, 14, 25],
            "onset": [11, 11, *[np.nan] * 2, 13, 15, 15, *[np.nan] * 3],
        }
    )
    share = estimate_onset_share(onsets, 10, 15)
    expected = SurvfuncRight(onsets["onset"].fillna(onsets["epochs"]), onsets["onset"].notna())
    assert share.share == pytest.approx(1 - expected.surv_prob[-1])
    survival, error = expected.surv_prob[-1], expected.surv_prob_se[-1]
    bound = 1.959964 * error / survival / np.log(survival)
    assert share.low == pytest.approx(1 - survival ** np.exp(bound), abs=1e-5)
    assert share.high == pytest.approx(1 - survival ** np.exp(-bound), abs=1e-5)


def test_no_event_or_no_run():
    none = estimate_onset_share(pd.DataFrame({"epochs": 25, "onset": [np.nan] * 10}), 10, 15)
    assert (none.share, none.low) == (0, 0)
    assert none.high == pytest.approx(1 - 0.025**0.1)
    all_of_them = estimate_onset_share(pd.DataFrame({"epochs": 25, "onset": [11.0] * 10}), 10, 15)
    assert (all_of_them.share, all_of_them.high) == (1, 1)
    assert all_of_them.low == pytest.approx(0.025**0.1)
    with pytest.raises(AnalysisError, match=r"^no run has a whole curve of honest/test_loss; train at least one"):
        estimate_onset_share(pd.DataFrame({"epochs": [], "onset": []}), 10, 15)


@pytest.mark.parametrize(("early", "verdict"), [(0, "SUPPORTED"), (8, "REFUTED"), (4, "INCONCLUSIVE")])
def test_the_share_of_onsets_is_held_against_its_reference(early, verdict):
    runs = plant_runs(6, {})
    order = np.arange(len(runs)) // 2 % 8
    turns = np.where(runs["regularised"], 99, np.where(order < early, 3, 10))
    history = plant_history(runs, draw_curves(turns, 0.01, 0.0005, np.random.default_rng(0)))
    judged = judge(ONSET, runs, history)
    assert judged.verdict == verdict
    assert judged.effect == pytest.approx(1 - early / 8)
    assert judged.onset_share.share == pytest.approx(1 - early / 8)
    assert (judged.onset_share.n, judged.onset_share.censored) == (48, 0)
    assert 0 <= judged.interval[0] < judged.interval[1] <= 1
    shrinks = judge(replace(ONSET, contrast="regularised - plain", direction="lower", reference=0.0), runs, history)
    assert shrinks.effect == pytest.approx(early / 8 - 1)


def test_runs_that_end_too_soon_after_the_window_show_no_onset():
    runs = plant_runs(6, {})
    curves = draw_curves(np.full(len(runs), 10), 0.01, 0.0005, np.random.default_rng(0))
    assert judge(ONSET, runs, plant_history(runs, curves[:, :18])).verdict == "SUPPORTED"
    verdict = judge(ONSET, runs, plant_history(runs, curves[:, :17]))
    assert (verdict.verdict, verdict.reason) == ("UNTESTABLE", "no seed has every twin trained for 18 epochs or more")


@pytest.mark.parametrize(("noise", "verdict"), [(0.002, "SUPPORTED"), (0.012, "UNTESTABLE")])
def test_an_onset_that_noise_hides_cannot_be_tested(noise, verdict):
    runs = plant_runs(6, {})
    turns = np.where(runs["regularised"], 99, 11)
    noises = np.where(runs["regularised"], 0.05, noise)[:, None]  # that of the other arm does not count
    judged = judge(
        ONSET, runs, plant_history(runs, draw_curves(turns, 0.02, noises, np.random.default_rng(0), fall=1.5))
    )
    assert judged.verdict == verdict
    if verdict == "UNTESTABLE":
        said = r"the noise of the test loss hides a rise of 0\.005 nats: the margin is 0\.02\d nats in the median run"
        assert re.fullmatch(said, judged.reason)
        assert judged.sentence.startswith(f"Cannot be tested: {judged.reason}. So far in the plain networks the share")
    both = judge(
        replace(ONSET, contrast="regularised - plain", direction="lower", reference=0.0),
        runs,
        plant_history(runs, draw_curves(turns, 0.02, 0.05, np.random.default_rng(0))),
    )
    assert both.verdict == "UNTESTABLE"
