from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.analysis.conclusion import conclude
from pipeline.analysis.gate import GATED, check_against, gate_passed, prediction_interval
from pipeline.analysis.results import dump_conclusion
from pipeline.analysis.selection import select_runs
from pipeline.errors import AnalysisError
from pipeline.report.gate import render_junit, render_summary
from tests.frames import make_runs

NAMES = ["conv2_3x3", "conv7_3x3"]


def store(seeds=range(5), **changes):
    return dump_conclusion(conclude(select_runs(make_runs(NAMES, seeds=seeds, **changes), rule="all-seeds")))


def rerun(seeds, **changes):
    runs = make_runs(NAMES, seeds=seeds)
    return runs.assign(run_id="new" + runs["run_id"]).assign(**changes)


def verdicts(outcomes):
    return [(outcome.variant, outcome.seed, outcome.metric, outcome.verdict) for outcome in outcomes]


def test_same_seed_and_threads_must_give_the_same_weights():
    same = check_against(store(), rerun([2]))
    assert verdicts(same) == [(name, 2, "weights_sha256", "pass") for name in NAMES]
    other = check_against(store(), rerun([2], weights_sha256="b" * 64))
    assert verdicts(other) == [(name, 2, "weights_sha256", "fail") for name in NAMES]
    assert other[0].value == "b" * 64
    assert same[0].expected == same[0].value == other[0].expected


def test_missing_weights_hash_is_not_judged():
    assert {outcome.verdict for outcome in check_against(store(), rerun([2], weights_sha256=""))} == {"not judged"}


def test_new_seed_is_held_against_the_interval_of_the_stored():
    outcomes = check_against(store(), rerun([77]), confidence=0.95)
    assert verdicts(outcomes) == [(name, 77, metric, "pass") for name in NAMES for metric in GATED]
    stored = make_runs(NAMES, seeds=range(5)).query("variant == 'conv2_3x3'")["final/test_loss"]
    # four intervals share the five per cent
    assert outcomes[0].expected == pytest.approx(prediction_interval(stored, 1 - 0.05 / 4))
    assert "98.75%" in outcomes[0].detail
    assert "n = 5 stored seeds" in outcomes[0].detail


def test_new_seed_outside_the_interval_fails_in_its_cell_alone():
    runs = rerun([77])
    runs.loc[1, "final/test_loss"] = 0.5
    outcomes = check_against(store(), runs)
    failed = [outcome for outcome in outcomes if outcome.verdict == "fail"]
    assert verdicts(failed) == [("conv7_3x3", 77, "final/test_loss", "fail")]
    assert failed[0].value == 0.5
    assert not gate_passed(outcomes)


def test_other_thread_count_is_a_new_draw_judged_without_its_own_seed():
    outcomes = check_against(store(), rerun([2], threads=4))
    assert {outcome.metric for outcome in outcomes} == set(GATED)
    assert all("n = 4 stored seeds" in outcome.detail for outcome in outcomes)


def test_one_stored_seed_cannot_judge_unless_a_tolerance_is_declared():
    unjudged = check_against(store([0]), rerun([1]))
    assert {outcome.verdict for outcome in unjudged} == {"not judged"}
    assert unjudged[0].detail.startswith("n = 1 stored, a prediction interval needs 2")
    assert not gate_passed(unjudged)
    judged = check_against(store([0]), rerun([1]), tolerances={"final/test_loss": 0.05})
    assert [outcome.verdict for outcome in judged] == ["pass", "not judged"] * 2
    strict = check_against(store([0]), rerun([1]), tolerances={"final/test_loss": 1e-9})
    assert [outcome.verdict for outcome in strict] == ["fail", "not judged"] * 2


def test_equal_stored_values_have_no_spread_to_predict_from():
    outcomes = check_against(store(**{"final/test_accuracy": 0.99}), rerun([9]))
    assert {(o.metric, o.verdict) for o in outcomes} == {
        ("final/test_loss", "pass"),
        ("final/test_accuracy", "not judged"),
    }


def test_stored_run_does_not_prove_itself():
    outcomes = check_against(store(), make_runs(NAMES, seeds=range(5)))
    assert {outcome.verdict for outcome in outcomes} == {"not judged"}
    assert "the stored run itself" in outcomes[0].detail


def test_absent_and_failed_cells_are_named():
    runs = rerun([9])
    runs.loc[1, ["outcome", "reason"]] = ["failed", "loss is nan"]
    (absent,) = [outcome for outcome in check_against(store(), runs) if outcome.variant == "conv7_3x3"]
    assert (absent.verdict, absent.seed) == ("not judged", None)
    assert absent.detail == "no finished run with the stored settings; failed: loss is nan"


def test_variant_that_is_not_stored_is_said_to_be_so():
    outcomes = check_against(store(), make_runs(["conv2_5x5"], seeds=[0]))
    assert outcomes[0].detail == "the variant is not in the result file"


def test_runs_of_other_settings_are_never_compared():
    outcomes = check_against(store(), rerun([9], epochs=3))
    assert {outcome.verdict for outcome in outcomes} == {"not judged"}
    assert "epochs 3, asked 25" in outcomes[0].detail


def test_unknown_tolerance_is_refused():
    with pytest.raises(AnalysisError, match="choose one of final/test_loss, final/test_accuracy"):
        check_against(store(), rerun([1]), tolerances={"test_loss": 1.0})


@pytest.mark.parametrize(("n", "confidence"), [(2, 0.9), (5, 0.95), (10, 0.99)])
def test_prediction_interval_covers_a_new_draw_as_often_as_it_says(n, confidence):
    draws = np.random.default_rng(n).normal(3, 2, size=(2000, n + 1))
    bounds = np.array([prediction_interval(sample, confidence) for sample in draws[:, :-1]])
    covered = ((bounds[:, 0] <= draws[:, -1]) & (draws[:, -1] <= bounds[:, 1])).sum()
    exact = stats.binomtest(int(covered), len(draws), confidence)
    assert exact.pvalue > 0.001


def test_prediction_interval_is_that_of_the_t_distribution():
    sample = np.array([0.061, 0.058, 0.066, 0.060])
    scale = sample.std(ddof=1) * np.sqrt(1 + 1 / 4)
    assert prediction_interval(sample) == pytest.approx(stats.t.interval(0.95, 3, loc=sample.mean(), scale=scale))
    with pytest.raises(AnalysisError, match="at least two stored seeds"):
        prediction_interval([1.0])


def mixed_outcomes():
    runs = pd.concat([rerun([77]), rerun([2], weights_sha256="b" * 64, run_id=["bad", "worse\x00"])])
    return check_against(store(), runs) + check_against(store([0]), rerun([1]))


def test_junit_counts_and_names_the_failing_cells():
    root = ElementTree.fromstring(render_junit(mixed_outcomes(), name="mnist14"))
    suite = root.find("testsuite")
    assert root.tag == "testsuites"
    assert {key: suite.get(key) for key in ("name", "tests", "failures", "errors", "skipped")} == {
        "name": "mnist14",
        "tests": "10",
        "failures": "2",
        "errors": "0",
        "skipped": "4",
    }
    assert len(suite.findall("testcase")) == 10
    case = next(case for case in suite if case.find("failure") is not None)
    assert case.get("classname") == "mnist14.conv2_3x3"
    assert case.get("name") == "conv2_3x3 seed 2: weights_sha256"
    assert "got bbbbbbbbbbbb" in case.find("failure").get("message")
    assert len(suite.findall("testcase/skipped")) == 4


def test_summary_leads_with_the_failing_cells():
    lines = render_summary(mixed_outcomes()).splitlines()
    assert lines[0] == "**Gate failed** in conv2_3x3 seed 2, conv7_3x3 seed 2 (6 of 10 judged)."
    assert lines[4].startswith("| conv2_3x3 seed 2 | weights_sha256 | ")
    assert len({line.count("|") for line in lines[2:]}) == 1


def test_summary_of_a_gate_that_passed_or_judged_nothing():
    passed = check_against(store(), rerun([77]))
    assert gate_passed(passed)
    assert render_summary(passed).startswith("**Gate passed** (4 of 4 judged).")
    nothing = check_against(store([0]), rerun([1]))
    assert render_summary(nothing).startswith("**Gate not passed**: nothing could be judged (0 of 4 judged).")
