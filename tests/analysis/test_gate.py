from __future__ import annotations

import functools
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.gate.check import EVERY, check_against, gate_passed
from pipeline.analysis.gate.metrics import GATED, IMAGES, LOSS, Demands, bound_mean, bound_run, pool_spread, scale_error
from pipeline.analysis.table.conclusion import conclude, dump_conclusion
from pipeline.analysis.table.selection import select_runs
from pipeline.errors import AnalysisError
from pipeline.report.text.gate import render_junit, render_summary
from pipeline.study.predicted import Predicted
from tests.conftest import slow
from tests.frames import PUBLISHED_NAMES, make_runs

NAMES = ["conv2_3x3", "conv7_3x3"]


@functools.cache
def store(seeds=range(5), **changes):
    return dump_conclusion(conclude(select_runs(make_runs(NAMES, seeds=seeds, **changes), rule="all-seeds")))


def rerun(seeds, **changes):
    runs = make_runs(NAMES, seeds=seeds)
    return runs.assign(run_id="new" + runs["run_id"]).assign(**changes)


def results(judgements):
    return [(judgement.variant, judgement.seed, judgement.metric, judgement.result) for judgement in judgements]


def test_same_seed_and_threads_must_give_the_same_weights():
    same = check_against(store(), rerun([2]))
    assert results(same) == [(name, 2, "weights_sha256", "pass") for name in NAMES]
    other = check_against(store(), rerun([2], weights_sha256="b" * 64))
    assert results(other) == [(name, 2, "weights_sha256", "fail") for name in NAMES]
    assert other[0].value == "b" * 64
    assert same[0].expected == same[0].value == other[0].expected


def test_missing_weights_hash_is_not_judged():
    assert {judgement.result for judgement in check_against(store(), rerun([2], weights_sha256=""))} == {"not judged"}


def test_new_seed_is_held_against_the_interval_of_the_stored():
    judgements = check_against(store(), rerun([77]), Demands(confidence=0.95))
    assert results(judgements) == [(name, 77, metric, "pass") for name in NAMES for metric in GATED]
    stored = make_runs(NAMES, seeds=range(5))
    groups = [np.log(own["final/test_loss"].to_numpy()) for _, own in stored.groupby("variant")]
    # four bounds share half of the five per cent
    half, _ = bound_run(pool_spread(groups), 5, 0.025 / 4)
    expected = (np.exp(groups[0].mean() - half), np.exp(groups[0].mean() + half))
    assert judgements[0].expected == pytest.approx(expected)
    assert judgements[0].detail.startswith(
        "n = 5 stored, SD pooled over variants (df 8), bounds at 99.38%; sees a shift"
    )


def test_new_seed_outside_the_interval_fails_in_its_cell_alone():
    runs = rerun([77])
    runs.loc[1, "final/test_loss"] = 1.5
    judgements = check_against(store(), runs)
    failed = [judgement for judgement in judgements if judgement.result == "fail"]
    assert results(failed) == [("conv7_3x3", 77, "final/test_loss", "fail")]
    assert failed[0].value == 1.5
    assert not gate_passed(judgements)


def test_other_thread_count_is_a_new_draw_judged_without_its_own_seed():
    judgements = check_against(store(), rerun([2], threads=4))
    assert {judgement.metric for judgement in judgements} == set(GATED)
    assert all("n = 4 stored, " in judgement.detail for judgement in judgements)


def test_other_code_or_versions_are_a_new_draw():
    other = check_against(store(), rerun([2], fingerprint="e" * 64, weights_sha256="b" * 64))
    assert results(other) == [(name, 2, metric, "pass") for name in NAMES for metric in GATED]
    known = conclude(select_runs(make_runs(NAMES, seeds=range(5)), rule="all-seeds"))
    early = replace(known, runs=known.runs.drop(columns="fingerprint"))  # as results were before runs had them
    assert results(check_against(dump_conclusion(early), rerun([2], weights_sha256="b" * 64))) == results(other)


def test_one_stored_seed_cannot_judge_unless_a_tolerance_is_declared():
    unjudged = check_against(store((0,)), rerun([1]))
    assert {judgement.result for judgement in unjudged} == {"not judged"}
    assert unjudged[0].detail.startswith("n = 1 stored, no spread to judge by; store more seeds")
    assert unjudged[0].detail.endswith("give --tolerance final/test_loss=VALUE")
    assert not gate_passed(unjudged)
    judged = check_against(store((0,)), rerun([1]), Demands(tolerances={"final/test_loss": 0.05}))
    assert [judgement.result for judgement in judged] == ["pass", "not judged"] * 2
    strict = check_against(store((0,)), rerun([1]), Demands(tolerances={"final/test_loss": 1e-9}))
    assert [judgement.result for judgement in strict] == ["fail", "not judged"] * 2


def test_equal_stored_values_have_no_spread_to_predict_from():
    judgements = check_against(store(**{"final/test_accuracy": 0.99}), rerun([9]))
    assert {(j.metric, j.result) for j in judgements} == {
        ("final/test_loss", "pass"),
        ("final/test_accuracy", "not judged"),
    }


def test_stored_run_does_not_prove_itself():
    judgements = check_against(store(), make_runs(NAMES, seeds=range(5)))
    assert results(judgements) == [(name, None, "run", "fail") for name in NAMES]
    assert "the stored run itself proves nothing" in judgements[0].detail


def test_stored_variant_without_a_new_run_fails_unless_allowed():
    judgements = check_against(store(), rerun([9]).iloc[:1])
    assert results(judgements)[2:] == [("conv7_3x3", None, "run", "fail")]
    assert judgements[2].detail == "no new finished run with the stored settings"
    assert not gate_passed(judgements)
    allowed = check_against(store(), rerun([9]).iloc[:1], Demands(allow_missing=True))
    assert results(allowed)[2:] == [("conv7_3x3", None, "run", "not judged")]
    assert gate_passed(allowed)


@pytest.mark.parametrize("early", [{}, {"data_sha256": "", "epochs": -1}])
def test_new_runs_that_crashed_fail_with_their_reason(early):
    runs = rerun([2, 9])
    changes = {"outcome": "failed", "reason": "loss is nan", **early}
    runs.loc[1:, list(changes)] = list(changes.values())
    judgements = check_against(store(), runs)
    assert sorted(results(judgements), key=str) == [
        ("conv2_3x3", 2, "weights_sha256", "pass"),
        ("conv2_3x3", 9, "run", "fail"),
        ("conv7_3x3", 2, "run", "fail"),
        ("conv7_3x3", 9, "run", "fail"),
    ]
    assert {judgement.detail for judgement in judgements[1:]} == {"no finished run; failed: loss is nan"}
    assert judgements[1].run_id in set(runs["run_id"])
    assert not gate_passed(judgements)
    assert gate_passed(check_against(store(), runs, Demands(allow_missing=True)))


def test_crash_before_or_under_other_settings_or_made_good_is_none():
    crash = make_runs(NAMES, seeds=[9], outcome="killed", reason="SIGTERM").assign(run_id=["x", "y"])
    before = pd.concat([make_runs(NAMES, seeds=range(5)), crash])
    stored = dump_conclusion(conclude(select_runs(before, rule="all-seeds")))
    assert gate_passed(check_against(stored, pd.concat([before, rerun([2])])))
    assert not gate_passed(check_against(store(), pd.concat([rerun([2]), crash])))
    assert gate_passed(check_against(store(), pd.concat([rerun([2, 9]), crash])))
    assert gate_passed(check_against(store(), pd.concat([rerun([2]), crash.assign(epochs=3)])))


def test_variant_that_is_not_stored_is_said_to_be_so():
    judgements = check_against(store(), make_runs(["conv2_5x5"], seeds=[0]))
    assert judgements[0].result == "not judged"
    assert judgements[0].detail == "the variant is not in the result file"


def test_runs_of_other_settings_are_never_compared():
    judgements = check_against(store(), rerun([9], epochs=3))
    assert results(judgements) == [(name, None, "run", "fail") for name in NAMES]
    assert "epochs 3, asked 25" in judgements[0].detail


def test_unknown_tolerance_is_refused():
    with pytest.raises(AnalysisError, match="choose one of final/test_loss, final/test_accuracy"):
        check_against(store(), rerun([1]), Demands(tolerances={"test_loss": 1.0}))


def draw(kind, size, rng):
    """Values with SD 1."""
    if kind == "normal":
        return rng.normal(size=size)
    return rng.standard_t(3, size=size) / 3**0.5 if kind == "t3" else rng.exponential(size=size) - 1


@pytest.mark.parametrize("kind", ["normal", "t3", "skewed"])
@pytest.mark.parametrize("seeds", [2, *slow(5)])
def test_healthy_runs_pass_in_ninety_five_percent(kind, seeds):
    """14 variants, two metrics, one new run each; at 2,000 studies the Monte-Carlo error is 0.5 points."""
    rng = np.random.default_rng(seeds)
    names = [str(variant) for variant in range(14)]
    stored, new = dict.fromkeys(names, seeds), dict.fromkeys(names, 1)
    failed = 0
    for _ in range(2000):
        bad = False
        for _ in GATED:
            groups = draw(kind, (14, seeds), rng)
            off, spread = draw(kind, 14, rng) - groups.mean(axis=1), pool_spread(list(groups))
            bad |= bool((np.abs(off) > bound_run(spread, seeds, 0.0125 / 28)[0]).any())
            bad |= bool(abs(off.mean()) > bound_mean(spread, stored, new, 0.0125 / 2)[0])
        failed += bad
    assert failed / 2000 <= 0.05


def test_the_smallest_shift_is_seen_in_eighty_percent():
    """At 4,000 studies the Monte-Carlo error is 0.6 points; the bound itself varies with the spread."""
    rng = np.random.default_rng(8)
    names = [str(variant) for variant in range(14)]
    stored, new = dict.fromkeys(names, 5), dict.fromkeys(names, 1)
    seen = 0
    for _ in range(4000):
        groups = rng.normal(size=(14, 5))
        half, smallest = bound_mean(pool_spread(list(groups)), stored, new, 0.00625)
        off = rng.normal(size=14) - groups.mean(axis=1) + smallest
        seen += abs(off.mean()) > half
    assert seen / 4000 == pytest.approx(0.8, abs=0.02)


def test_a_shift_of_all_runs_fails_where_each_of_them_passes():
    names = PUBLISHED_NAMES
    runs = make_runs(names, seeds=range(5))
    stored = dump_conclusion(conclude(select_runs(runs, rule="all-seeds")))
    new = make_runs(names, seeds=[77])
    new = new.assign(run_id="new" + new["run_id"])
    healthy = check_against(stored, new)
    assert gate_passed(healthy)
    shifted = check_against(stored, new.assign(**{"final/test_loss": 1.2 * new["final/test_loss"]}))
    failed = [judgement for judgement in shifted if judgement.result == "fail"]
    assert results(failed) == [(EVERY, None, "final/test_loss, mean shift", "fail")]
    assert failed[0].detail.startswith("14 new runs, on the metric's own scale; sees a shift of a factor of 1.")


def test_bounds_that_are_too_wide_judge_nothing():
    runs = make_runs(NAMES, seeds=range(2)).assign(**{"final/test_loss": [0.1, 0.1, 0.5, 0.9]})
    stored = dump_conclusion(conclude(select_runs(runs, rule="all-seeds")))
    judgements = [each for each in check_against(stored, rerun([77])) if each.metric == "final/test_loss"]
    assert {judgement.result for judgement in judgements} == {"not judged"}
    assert "bounds too wide to judge by; sees a shift" in judgements[0].detail
    judged = check_against(stored, rerun([77]), Demands(tolerances={"final/test_loss": 9.0}))
    assert {each.result for each in judged if each.metric == "final/test_loss"} == {"pass"}


def test_scales_come_back():
    error = scale_error(10_000)
    for accuracy in (0.0, 0.5, 0.9912, 1.0):
        assert error.backward(float(error.forward(accuracy))) == pytest.approx(accuracy)
    assert LOSS.backward(float(LOSS.forward(0.03))) == pytest.approx(0.03)


def test_images_that_all_stored_seeds_got_right_are_a_metric():
    runs, new = make_runs(NAMES, seeds=range(5)), rerun([77])
    rng = np.random.default_rng(9)
    hard = np.arange(1000) < 30

    def answer(wrong):
        return Predicted(
            label=np.zeros(1000, dtype=np.uint8),
            predicted=wrong.astype(np.uint8),
            log_probability=np.zeros(1000, dtype=np.float32),
        )

    def predict(run_id, easy):
        return {run_id: answer(np.where(hard, rng.random(1000) < 0.5, rng.random(1000) < easy))}

    stored = {}
    for run_id in runs["run_id"]:
        stored |= predict(run_id, 0.002)
    good, bad = dict(stored), dict(stored)
    for run_id in new["run_id"]:
        good |= predict(run_id, 0.002)
        bad |= predict(run_id, 0.08)
    text = dump_conclusion(conclude(select_runs(runs, rule="all-seeds")))
    assert {each.result for each in check_against(text, new, predicted=good) if each.metric == IMAGES} == {"pass"}
    found = [each for each in check_against(text, new, predicted=bad) if each.metric == IMAGES]
    assert {each.result for each in found} == {"fail"}
    assert found[0].value > 50
    assert not [each for each in check_against(text, new, predicted={}) if each.metric == IMAGES]


def mixed_judgements():
    runs = pd.concat([rerun([77]), rerun([2], weights_sha256="b" * 64, run_id=["bad", "worse\x00"])])
    return check_against(store(), runs) + check_against(store((0,)), rerun([1]))


def test_junit_counts_and_names_the_failing_cells():
    root = ElementTree.fromstring(render_junit(mixed_judgements()))
    suite = root.find("testsuite")
    assert root.tag == "testsuites"
    assert {key: suite.get(key) for key in ("name", "tests", "failures", "errors", "skipped")} == {
        "name": "gate",
        "tests": "10",
        "failures": "2",
        "errors": "0",
        "skipped": "4",
    }
    assert len(suite.findall("testcase")) == 10
    case = next(case for case in suite if case.find("failure") is not None)
    assert case.get("classname") == "gate.conv2_3x3"
    assert case.get("name") == "conv2_3x3 seed 2: weights_sha256"
    assert "got bbbbbbbbbbbb" in case.find("failure").get("message")
    assert len(suite.findall("testcase/skipped")) == 4


def test_summary_leads_with_the_failing_cells():
    lines = render_summary(mixed_judgements()).splitlines()
    assert lines[0] == "**Gate failed** in conv2_3x3 seed 2, conv7_3x3 seed 2 (6 of 10 judged)."
    assert lines[4].startswith("| conv2_3x3 seed 2 | weights_sha256 | ")
    assert len({line.count("|") for line in lines[2:]}) == 1


def test_summary_of_a_gate_that_passed_or_judged_nothing():
    passed = check_against(store(), rerun([77]))
    assert gate_passed(passed)
    assert render_summary(passed).startswith("**Gate passed** (4 of 4 judged).")
    nothing = check_against(store((0,)), rerun([1]))
    assert render_summary(nothing).startswith("**Gate not passed**: nothing could be judged (0 of 4 judged).")
