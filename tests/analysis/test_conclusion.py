from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.analysis.table.conclusion import conclude
from pipeline.analysis.table.entries import LABELS, load_published
from pipeline.analysis.table.selection import METRICS, MNIST_SHA256, SharedSettings, newest_settings, select_runs
from pipeline.data.fetch import ARRAY_SHA256
from pipeline.errors import AnalysisError
from pipeline.study.variants import VARIANTS
from tests.frames import PUBLISHED_NAMES, make_run, make_runs

STUDY_COLUMNS = [
    *("#ConvNets", "#Kernels/Filters", "Padding", "Stride", "Dropout", "BatchNormalization", "Regularization"),
    *("TRAIN_LOSS", "TEST_LOSS", "TRAIN_ACC", "TEST_ACC"),
]


def gather(*runs):
    return pd.DataFrame([make_run(**{"minute": minute} | run) for minute, run in enumerate(runs)])


def reasons_of(selection):
    return selection.left_out.set_index("run_id")["reason"].to_dict()


def test_canonical_hash_is_that_of_the_data_room():
    lines = "".join(f"{name} {digest}\n" for name, digest in ARRAY_SHA256.items())
    assert hashlib.sha256(lines.encode()).hexdigest() == MNIST_SHA256


def test_rows_and_columns_are_the_studys():
    conclusion = conclude(select_runs(make_runs()))
    assert list(conclusion.columns) == STUDY_COLUMNS
    assert list(conclusion.rows) == PUBLISHED_NAMES
    assert len(conclusion.rows) == 14
    for variant, entries in conclusion.rows.items():
        published = load_published()[variant]
        assert [entries[label].value for label in LABELS] == [published[label] for label in LABELS]
    assert [entries["Dropout"].value for entries in conclusion.rows.values()][4:6] == ["-", "False"]


def test_raw_numbers_are_kept_with_their_run():
    runs = make_runs()
    conclusion = conclude(select_runs(runs))
    for run, entries in zip(runs.to_dict("records"), conclusion.rows.values(), strict=True):
        for column, metric in METRICS.items():
            entry = entries[column]
            assert (entry.value, entry.run_ids, entry.low) == (run[metric], (run["run_id"],), None)


def test_missing_variants_stay_as_rows_without_numbers():
    conclusion = conclude(select_runs(make_runs(["conv7_5x5"])))
    assert list(conclusion.rows) == PUBLISHED_NAMES
    assert conclusion.missing == tuple(PUBLISHED_NAMES[:-1])
    assert [entries["TEST_ACC"].value is None for entries in conclusion.rows.values()] == [True] * 13 + [False]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"epochs": 5}, "epochs 5, asked 25"),
        ({"batch_size": 64}, "batch_size 64, asked 128"),
        ({"normalization": "scale"}, "normalization scale, asked l2"),
        ({"precision": "mixed_bfloat16"}, "precision mixed_bfloat16, asked float32"),
        (
            {"subset": 6000, "data_sha256": "f" * 64},
            f"subset 6000, asked 0; data_sha256 {'f' * 12}, asked 889f531a0f02",
        ),
        ({"outcome": "failed", "status": "FINISHED", "reason": "loss is nan"}, "failed: loss is nan"),
        ({"outcome": "killed", "reason": "SIGTERM"}, "stopped: SIGTERM"),
        ({"outcome": "running"}, "running"),
        ({"outcome": "", "status": "FAILED"}, "not finished (MLflow status FAILED)"),
        ({"final/test_loss": np.nan}, "no finite final/test_loss"),
        ({"variant": "conv9_9x9"}, "no variant of the study"),
    ],
)
def test_run_that_does_not_belong_is_left_out_with_its_reason(change, reason):
    good = make_run("conv2_3x3")
    bad = make_run("conv2_3x3", seed=1, minute=9) | change
    selection = select_runs(pd.DataFrame([good, bad]))
    assert list(selection.chosen["run_id"]) == [good["run_id"]]
    assert reasons_of(selection) == {bad["run_id"]: reason}


def test_newest_is_by_end_not_by_place_in_the_frame():
    late = pd.Timestamp("2026-01-03", tz="UTC")
    runs = gather({"variant": "conv2_3x3", "ended": late}, {"variant": "conv2_3x3", "seed": 1, "minute": 2})
    selection = select_runs(runs)
    assert list(selection.chosen["seed"]) == [0]
    assert reasons_of(selection) == {runs["run_id"][1]: "rule newest took another run of its variant"}


def test_frames_put_together_keep_each_run_once():
    runs = pd.concat([make_runs(["conv2_3x3"]), make_runs(["conv2_5x5"], seeds=(1,))])
    selection = select_runs(runs, rule="all-seeds")
    assert list(selection.chosen["run_id"]) == list(runs["run_id"])
    assert selection.left_out.empty


def test_run_without_an_end_is_dated_by_its_start():
    early, late = make_run("conv2_3x3"), make_run("conv2_3x3", seed=1, minute=3, ended=pd.NaT)
    assert list(select_runs(pd.DataFrame([late, early])).chosen["seed"]) == [1]


def test_best_takes_the_highest_test_accuracy_and_says_so():
    runs = make_runs(["conv2_3x3"], seeds=range(4))
    runs["final/test_accuracy"] = [0.98, 0.992, 0.985, 0.992]
    selection = select_runs(runs, rule="best")
    assert list(selection.chosen["seed"]) == [3]
    assert "selected on the test images, so descriptive only" in conclude(selection).query


def test_all_seeds_takes_one_run_a_seed_and_averages():
    runs = pd.concat([make_runs(["conv2_3x3"], seeds=range(3)), gather({"variant": "conv2_3x3", "minute": 99})])
    runs.iloc[-1, runs.columns.get_loc("final/test_loss")] = 0.1
    selection = select_runs(runs, rule="all-seeds")
    assert list(selection.chosen["seed"]) == [0, 1, 2]
    entry = conclude(selection).rows["conv2_3x3"]["TEST_LOSS"]
    values = [0.1, *runs["final/test_loss"].iloc[1:3]]
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert entry.value == pytest.approx(np.mean(values))
    assert (entry.low, entry.high) == pytest.approx((interval.low, interval.high))
    assert len(entry.run_ids) == 3


def test_one_seed_has_no_interval_under_all_seeds():
    entry = conclude(select_runs(make_runs(), rule="all-seeds")).rows["conv2_3x3"]["TEST_ACC"]
    assert (entry.low, entry.high, len(entry.run_ids)) == (None, None, 1)


def test_auto_asks_for_the_settings_of_the_newest_finished_run():
    runs = gather(
        {"variant": "conv2_3x3"},
        {"variant": "conv2_5x5", "epochs": 3, "subset": 600, "data_sha256": "a" * 64},
        {"variant": "conv2_5x5", "epochs": 7, "outcome": "failed"},
    )
    selection = select_runs(runs, newest_settings(runs))
    assert selection.settings == SharedSettings(epochs=3, subset=600, data_sha256="a" * 64)
    assert list(selection.chosen["variant"]) == ["conv2_5x5"]
    assert newest_settings(runs, epochs=25) == SharedSettings()


def test_one_table_never_mixes_settings():
    runs = pd.concat([make_runs(), make_runs(seeds=(1,)).assign(epochs=5, run_id=lambda own: own["run_id"] + "x")])
    conclusion = conclude(select_runs(runs, newest_settings(runs), "all-seeds"))
    assert set(conclusion.runs["seed"]) == {1}
    assert set(conclusion.left_out["reason"]) == {"epochs 25, asked 5"}


@pytest.mark.parametrize(
    ("select", "message"),
    [
        (lambda: select_runs(make_runs(), rule="worst"), '"worst" is not a selection rule; choose one of newest, best'),
        (lambda: select_runs(make_runs().iloc[[0, 0]]), "occurs twice"),
        (lambda: newest_settings(make_runs(outcome="failed")), "no finished run to compare; train a variant first"),
        (lambda: newest_settings(make_runs(), epochs=3), "no finished run with epochs 3 to compare"),
        (lambda: conclude(select_runs(make_runs(epochs=1))), "no run to compare: none of 14 is finished"),
        (lambda: conclude(select_runs(make_runs().iloc[:0])), "no run to compare: none of 0 is finished"),
        (lambda: conclude(select_runs(make_runs())).trace("conv9", "TEST_ACC"), '"conv9" is not a row'),
        (lambda: conclude(select_runs(make_runs())).trace(14, "TEST_ACC"), '"14" is not a row'),
        (lambda: conclude(select_runs(make_runs())).trace(0, "test_acc"), '"test_acc" is not a column'),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(select, message):
    with pytest.raises(AnalysisError) as error:
        select()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_truth_columns_show_what_the_labels_hide():
    conclusion = conclude(select_runs(make_runs()), truth=True)
    assert list(conclusion.columns[:11]) == STUDY_COLUMNS
    assert conclusion.rows["conv3_5x5_reg"]["#ConvNets"].value == "3"
    assert conclusion.rows["conv3_5x5_reg"]["depth counted"].value == 5
    assert conclusion.rows["conv5_3x3"]["Dropout"].value == "False"
    assert conclusion.rows["conv5_3x3"]["dropout in network"].value is True
    assert conclusion.rows["conv5_3x3"]["batch norm in network"].value is True
    assert conclusion.rows["conv7_5x5"]["parameters"].value == 646_858
    assert conclusion.rows["conv2_3x3"]["honest gap"].source == "final/gap_honest"
    assert len(conclusion.rows["conv2_3x3"]["seconds per epoch"].run_ids) == 1


def test_published_numbers_stand_beside_ours_with_the_difference():
    conclusion = conclude(select_runs(make_runs(PUBLISHED_NAMES[:2])), published=True)
    row, second, third = list(conclusion.rows.values())[:3]
    assert (row["published TEST_LOSS"].value, row["published TRAIN_LOSS"].value) == (0.05639, 0.0043)
    assert row["TEST_LOSS difference"].value == row["TEST_LOSS"].value - 0.05639
    assert row["TEST_LOSS difference"].run_ids == row["TEST_LOSS"].run_ids
    assert second["TRAIN_LOSS difference"].value is None
    assert third["TEST_ACC difference"].value is None


def test_controls_are_rows_only_when_asked_for():
    runs = make_runs(list(VARIANTS))
    without = conclude(select_runs(runs))
    assert len(without.rows) == 14
    assert list(without.left_out["reason"]) == ["control: ask for the controls"] * 5
    rows = conclude(select_runs(runs), controls=True, published=True).rows
    assert list(rows) == list(VARIANTS)
    plain = list(rows.values())[15]
    assert [plain[label].value for label in LABELS] == ["5", "3x3", "same", "2x2", "False", "False", "-"]
    assert plain["published TEST_ACC"].value is None


def test_trace_gives_runs_number_and_query():
    conclusion = conclude(select_runs(make_runs(seeds=range(3)), rule="all-seeds"))
    variant, entry = conclusion.trace("12", "TRAIN_ACC")
    assert (variant, len(entry.run_ids), entry.source) == ("conv7_3x3", 3, "final/train_accuracy")
    assert conclusion.query.startswith("outcome = 'finished' and epochs = 25 and batch_size = 128")
    assert conclusion.query.endswith(
        "newest finished run of each variant and seed; mean and 95 % t-interval over seeds"
    )


def test_run_without_a_metric_is_not_counted_for_it():
    runs = make_runs(["conv2_3x3"], seeds=range(3))
    runs.loc[0, "final/gap_honest"] = np.inf
    entry = conclude(select_runs(runs, rule="all-seeds"), truth=True).rows["conv2_3x3"]["honest gap"]
    assert entry.run_ids == tuple(runs["run_id"][1:])


def test_hash_is_of_the_numbers_and_runs_alone():
    runs = make_runs(seeds=range(2))
    digest = conclude(select_runs(runs, rule="all-seeds")).sha256
    shuffled = runs.sample(frac=1, random_state=1).assign(run_name="another", experiment="another")
    assert conclude(select_runs(shuffled, rule="all-seeds")).sha256 == digest
    for column, value in (("final/test_loss", np.nextafter(runs["final/test_loss"][3], 1)), ("run_id", "other")):
        changed = runs.copy()
        changed.loc[3, column] = value
        assert conclude(select_runs(changed, rule="all-seeds")).sha256 != digest
