from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.analysis.claims.networks import Across
from pipeline.analysis.claims.verdict import Verdict
from pipeline.analysis.comparison import Question, compare_runs
from pipeline.report.pages.conclusion import (
    describe_onsets,
    describe_verdict,
    say_conclusion,
    shorten_note,
    write_conclusion,
)
from pipeline.report.text.sentences import say_verdict
from tests.analysis.studies import ERROR, GAP, HEADLINE, ONSET
from tests.frames import PUBLISHED_NAMES, make_history, make_runs

TWINS = ("conv3_3x3", "conv3_3x3_reg", "conv7_3x3", "conv7_5x5")
PLAIN_SHARE = replace(ONSET, name="share")


def compare(names=PUBLISHED_NAMES, seeds=range(4), epochs=25, claims=(GAP, ERROR, HEADLINE, PLAIN_SHARE), history=None):
    runs = make_runs(names, seeds=seeds, epochs=epochs)
    frame = make_history(runs, epochs) if history is None else history(runs)
    question = Question(rule="all-seeds", claims=claims)
    return compare_runs(runs, lambda run_ids: frame[frame["run_id"].isin(run_ids)], question)


@pytest.fixture(scope="module")
def comparison():
    return compare()


def test_terminal_shows_the_evidence_of_each_claim(comparison):
    lines = say_conclusion(comparison).splitlines()
    verdict = comparison.verdicts[0]
    (line,) = [line for line in lines if verdict.run_ids[0] in line][:1]
    assert line.startswith(f"  n 4 seeds, {verdict.twins} twins")
    assert f", runs: {', '.join(verdict.run_ids[:3])} ... ({len(verdict.run_ids)}, all in verdicts.json)" in line
    assert verdict.run_ids[3] not in line
    assert sum("all in verdicts.json" in line for line in lines) == sum(bool(v.run_ids) for v in comparison.verdicts)


def test_verdict_is_json_with_every_field(comparison):
    for verdict in comparison.verdicts:
        described = describe_verdict(verdict)
        json.dumps(described, allow_nan=False)
        fields = set(vars(verdict)) - {"interval", "interval_95"}
        assert fields | {"low", "high", "low_95", "high_95", "statement", "sentence"} == set(described)
        assert described["run_ids"] == list(verdict.run_ids)
        assert described["seeds_needed"] == verdict.seeds_needed
    gap, _, headline, share = map(describe_verdict, comparison.verdicts)
    assert [row["seed"] for row in gap["per_seed"]] == [0, 1, 2, 3]
    assert np.mean([row["effect"] for row in gap["per_seed"]]) == pytest.approx(gap["effect"])
    assert gap["low"] < gap["effect"] < gap["high"]
    assert gap["reduction"]["low"] <= gap["reduction"]["share"] <= gap["reduction"]["high"]
    assert headline["parts"] == ["gap", "error"]
    assert headline["effect"] is None
    assert [twin["twin"] for twin in share["by_twin"]] == [twin.twin for twin in comparison.verdicts[3].by_twin]


def test_numpy_and_missing_numbers_become_plain():
    across = Across(twins=np.int64(4), mean=np.float64(0.5), low=math.nan, high=math.inf, new_low=0.0, new_high=1.0)
    described = describe_verdict(Verdict(claim=GAP, across=across, per_seed=((np.int64(3), np.float64(0.25)),)))
    expected = {"twins": 4, "mean": 0.5, "low": None, "high": None, "new_low": 0.0, "new_high": 1.0}
    assert described["across"] == expected
    assert type(described["per_seed"][0]["seed"]) is int
    assert described["reduction"] == {"share": None, "low": None, "high": None}
    assert (described["p"], described["p_twins"], described["level"]) == (None, None, None)


def test_table_and_sentence_name_the_same_unit(comparison):
    rows = [
        line for line in write_conclusion(comparison, "t").splitlines() if line.startswith(("| gap |", "| share |"))
    ]
    effects = [row.split("|")[3].strip() for row in rows]
    assert effects[0].endswith(" nats")
    assert effects[1].endswith(" %")
    sentences = [say_verdict(verdict) for verdict in comparison.verdicts]
    assert effects[0].removeprefix("-") in sentences[0]
    assert effects[1] in sentences[3]


def test_markdown_names_few_runs_below_the_table_and_all_at_the_end(comparison):
    text = write_conclusion(comparison, "Conclusion of study")
    run_ids = comparison.verdicts[0].run_ids
    assert f"Runs behind gap ({len(run_ids)}): {', '.join(run_ids[:3])} ...\n" in text
    assert text.endswith(".\n")
    assert f"Runs behind gap ({len(run_ids)}), all: {', '.join(run_ids)}.\n" in text
    note = shorten_note(text)
    assert len(note) <= 4900
    assert f"Runs behind gap ({len(run_ids)}): " in note
    assert "cut; the whole is in the artifact" in note


def test_onsets_are_a_row_a_run():
    comparison = compare(TWINS, range(2))
    frame = describe_onsets(comparison)
    assert list(frame.columns) == ["run_id", "variant", "seed", "onset", "censored", "epochs"]
    assert list(frame["run_id"]) == list(comparison.runs["run_id"])
    assert list(frame["onset"].isna()) == list(frame["censored"])
    assert set(frame.loc[frame["variant"] == "conv3_3x3_reg", "censored"]) == {True}
    assert not frame.loc[frame["variant"] == "conv3_3x3", "censored"].any()


def test_onsets_are_counted_for_plain_and_regularised(comparison):
    frame = comparison.onsets
    said = []
    for name, own in (("plain", frame[~frame["regularised"]]), ("regularised", frame[frame["regularised"]])):
        inside = own["onset"].between(10, 15).sum()
        said.append(f"{name} {inside} of {len(own)}, {own['onset'].isna().sum()} without an onset")
        assert (inside > 0) == (name == "plain")
    line = f"Runs that begin to overfit in epochs 10 to 15: {'; '.join(said)}.\n"
    assert line in say_conclusion(comparison)
    assert line in write_conclusion(comparison, "t")


def test_onsets_that_noise_hides_are_not_counted():
    def add_noise(runs):
        frame = make_history(runs)
        noisy = frame["run_id"].isin(runs.loc[runs["regularised"], "run_id"]) & (frame["metric"] == "honest/test_loss")
        return frame.assign(value=frame["value"] + noisy * np.random.default_rng(2).normal(0, 0.02, len(frame)))

    said = say_conclusion(compare(TWINS, range(2), history=add_noise))
    assert "; regularised cannot be seen, as the noise of the median run is 0.0" in said


def test_onsets_are_those_of_the_seeds_of_the_look():
    runs = make_runs(TWINS, seeds=range(7))
    frame = make_history(runs)
    question = Question(rule="all-seeds", claims=(PLAIN_SHARE,), variants=TWINS, seeds=tuple(range(10)), looks=(5, 10))
    found = compare_runs(runs, lambda run_ids: frame[frame["run_id"].isin(run_ids)], question)
    assert "plain 5 of 5, 0 without an onset; regularised 0 of 15, 15 without an onset." in say_conclusion(found)


def test_onsets_are_left_unsaid_where_not_watched():
    def refuse(run_ids):
        raise AssertionError("no history is needed below 18 epochs")

    short = compare_runs(make_runs(TWINS, epochs=17), refuse, Question(asked={"epochs": 17}))
    assert "begin to overfit" not in say_conclusion(short)
    bare = compare(TWINS, claims=(), history=lambda runs: make_history(runs).iloc[:0])
    assert "begin to overfit" not in say_conclusion(bare)
    eighteen = compare(["conv3_3x3"], epochs=18, claims=(ONSET,))
    assert "epochs 10 to 15: plain" in say_conclusion(eighteen)
    unclaimed = compare(["conv3_3x3"], epochs=18, claims=(GAP,))
    assert "epochs 10 to 15" not in say_conclusion(unclaimed)


def test_claim_without_runs_names_none():
    text = say_conclusion(compare(["conv3_3x3"], claims=(GAP,)))
    assert "n 0 seeds, 0 twins, runs: none" in text
    assert "Runs behind" not in write_conclusion(compare(["conv3_3x3"], claims=(GAP,)), "t")
