from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pipeline.analysis.claims.images import compare_images, widen_by_images
from pipeline.analysis.statistics import bound_sd, count_seeds, estimate_mean
from pipeline.errors import AnalysisError
from pipeline.report.text.sentences import say_verdict
from pipeline.study.predicted import Predicted
from tests.analysis.studies import ERROR, SPREAD, judge, plant_errors

BOTH = replace(ERROR, over="seeds and images", smallest_effect=0.02)


def draw_tables(studies, seeds, images, sds, rng):
    """Tables (studies, seeds, images) with effects of seeds, images and both, with these SDs, around 0."""
    s, i, e = sds
    return (
        s * rng.normal(size=(studies, seeds, 1))
        + i * rng.normal(size=(studies, 1, images))
        + e * rng.normal(size=(studies, seeds, images))
    )


def predict(wrong, label=None, recent=0):
    label = np.zeros(len(wrong), dtype=np.uint8) if label is None else label
    means = {"recent_wrong": 3 * wrong.astype(np.uint8), "recent_log_probability": -wrong.astype(np.float16)}
    return Predicted(
        label=label,
        predicted=(label + wrong).astype(np.uint8),
        log_probability=-wrong.astype(np.float32),
        recent=recent,
        **(means if recent else {}),
    )


def test_the_variance_has_its_three_parts():
    values = draw_tables(1, 6, 40, (0.1, 0.5, 0.7), np.random.default_rng(1))[0]
    wide = widen_by_images(estimate_mean(values.mean(axis=1)), values)
    rows, columns = values.mean(axis=1), values.mean(axis=0)
    rest = values - rows[:, None] - columns + values.mean()
    expected = rows.var(ddof=1) / 6 + columns.var(ddof=1) / 40 - (rest**2).sum() / (5 * 39) / (6 * 40)
    assert wide.error == pytest.approx(expected**0.5)
    assert wide.mean == pytest.approx(values.mean())
    assert wide.df > 5


def test_images_never_narrow_the_interval():
    values = draw_tables(1, 5, 30, (0.5, 0.0, 1.0), np.random.default_rng(2))[0]
    alone = estimate_mean(values.mean(axis=1))
    assert widen_by_images(alone, values).half_width(0.05) >= alone.half_width(0.05)


@pytest.mark.parametrize(
    ("sds", "seeds_alone"), [((0.05, 0.0, 0.5), 96), ((0.02, 0.3, 0.5), 76), ((0.0, 0.3, 0.2), 36)]
)
def test_the_interval_covers_other_seeds_and_images(sds, seeds_alone):
    """At 1,500 studies of 10 seeds x 300 images the Monte-Carlo error is 0.6 points."""
    held, alone = 0, 0
    for values in draw_tables(1500, 10, 300, sds, np.random.default_rng(3)):
        over_seeds = estimate_mean(values.mean(axis=1))
        low, high = widen_by_images(over_seeds, values).interval(0.05)
        held += low <= 0 <= high
        low, high = over_seeds.interval(0.05)
        alone += low <= 0 <= high
    assert held / 1500 >= 0.95 - 3 * 0.006
    assert alone / 15 <= seeds_alone + 3


def plant_predictions(runs, images=2000, recent=0):
    """What each run said, with as many wrong images as its test accuracy says."""
    rng = np.random.default_rng(4)
    hard = rng.permutation(images)
    predicted = {}
    for run_id, accuracy in zip(runs["run_id"], runs["final/test_accuracy"], strict=True):
        wrong = np.zeros(images, dtype=bool)
        wrong[hard[: round(images * (1 - accuracy))]] = True
        predicted[run_id] = predict(wrong, recent=recent)
    return predicted


def test_both_half_widths_are_said_and_the_declared_one_decides():
    runs = plant_errors(0.015, 0.0005)
    predicted = plant_predictions(runs)
    seeds = judge(replace(BOTH, over="seeds"), runs, predicted=predicted)
    both = judge(BOTH, runs, predicted=predicted)
    assert (seeds.verdict, both.verdict) == ("SUPPORTED", "INCONCLUSIVE")
    assert seeds.half_seeds == both.half_seeds < both.half_images == seeds.half_images
    assert both.interval_95[1] - both.effect == pytest.approx(both.half_images)
    assert "over seeds, " in say_verdict(both)
    assert "over seeds and 2,000 test images" in say_verdict(both)
    assert "95 % CI" in say_verdict(both).partition("over 6 seeds and 2,000 test images")[0]


def test_more_seeds_do_not_help_where_images_are_too_few():
    runs = plant_errors(0.004, 0.0005)
    predicted = plant_predictions(runs)
    enough, few = (judge(replace(BOTH, smallest_effect=small), runs, predicted=predicted) for small in (0.004, 0.002))
    assert {enough.verdict, few.verdict} == {"INCONCLUSIVE"}
    assert enough.seeds_needed > count_seeds(bound_sd(0.0005 * SPREAD.std(ddof=1), 6), 0.004)
    assert few.seeds_needed is None
    assert "with these 2,000 test images no number of seeds up to 10,000 is enough to rule out" in say_verdict(few)


def test_images_that_were_not_recorded_cannot_be_covered():
    runs = plant_errors(0.0)
    reason = "the interval is to cover test images, and not all runs recorded what they predicted for each"
    assert judge(BOTH, runs).reason == reason
    predicted = plant_predictions(runs)
    assert judge(BOTH, runs, predicted=predicted).verdict == "SUPPORTED"
    predicted.pop(runs["run_id"][3])
    assert judge(BOTH, runs, predicted=predicted).reason == reason
    assert judge(replace(BOTH, over="seeds"), runs, predicted=predicted).verdict == "SUPPORTED"


def test_the_last_three_epochs_are_read_where_they_were_recorded():
    wrong = np.array([True, False, True])
    assert predict(wrong).measure("test_error", 3) is None
    assert predict(wrong, recent=2).measure("test_error", 3) is None
    assert predict(wrong, recent=3).measure("test_error", 3).tolist() == [1, 0, 1]
    assert predict(wrong, recent=3).measure("test_loss", 3).tolist() == [1, 0, 1]
    assert predict(wrong).measure("test_loss", 1).tolist() == [1, 0, 1]


def test_two_runs_are_compared_image_by_image():
    rng = np.random.default_rng(5)
    first, second = rng.random((2, 400)) < 0.1
    found = compare_images(predict(first), predict(second))
    assert found.first_only.tolist() == np.flatnonzero(~first & second).tolist()
    assert found.second_only.tolist() == np.flatnonzero(first & ~second).tolist()
    assert (found.images, found.both_wrong) == (400, (first & second).sum())
    counts = len(found.first_only), len(found.second_only)
    assert found.p == pytest.approx(stats.binomtest(counts[0], sum(counts)).pvalue)
    assert compare_images(predict(first), predict(first)).p == 1
    with pytest.raises(AnalysisError, match=r"^the two runs were tested on other images; compare runs of the same"):
        compare_images(predict(first), predict(second, label=np.ones(400, dtype=np.uint8)))
