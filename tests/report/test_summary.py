from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.analysis.comparison import Question, compare_runs
from pipeline.cli.results.compare import print_summary
from pipeline.report.text import summary
from pipeline.report.text.lessons import say_specifications
from pipeline.report.text.summary import list_notes, list_variants, list_verdicts
from tests.analysis.studies import ERROR, GAP, HEADLINE
from tests.frames import make_history, make_runs

NAMES = ("conv2_3x3", "conv2_3x3_reg", "conv3_3x3", "conv3_3x3_reg")


def compare(seeds=range(4)):
    runs = make_runs(NAMES, seeds=seeds)
    history = make_history(runs, 25)
    long = replace(GAP, name="gap in every one of these networks, whatever their kernel or depth may be")
    question = Question(
        rule="all-seeds", claims=(GAP, ERROR, HEADLINE, long), variants=(*NAMES, "conv7_5x5_reg", "conv7_5x5")
    )
    return compare_runs(runs, lambda run_ids: history[history["run_id"].isin(run_ids)], question)


def test_each_claim_and_each_declared_variant_has_a_row() -> None:
    comparison = compare()
    rows = list_verdicts(comparison.verdicts)
    gap = comparison.verdicts[0]
    assert rows[0][0] == gap.name
    assert rows[0][1] == gap.word
    assert rows[0][2].endswith(" nats")
    assert rows[0][4].startswith(f"{gap.twins_agree} of {gap.twins} ")
    assert rows[2][2:] == ("-", "-", "-"), "a headline has no number of its own"
    variants = list_variants(comparison)
    assert [row[0] for row in variants] == [*NAMES, "conv7_5x5_reg", "conv7_5x5"]
    assert variants[-1] == ("conv7_5x5", "(no run)", "-", "-", "0")
    own = comparison.runs[comparison.runs["variant"] == NAMES[0]]
    assert variants[0][1].startswith(f"{100 * own['final/test_accuracy'].mean():.2f} ± ")
    assert variants[0][4] == "4"


def test_one_seed_has_no_spread_and_says_why_nothing_is_tested() -> None:
    comparison = compare(seeds=[0])
    assert "±" not in list_variants(comparison)[0][1]
    assert any("cannot be tested: " in note for note in list_notes(comparison))


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_nothing_is_wider_than_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    comparison = compare()
    print_summary(comparison)
    printed = capsys.readouterr().out.splitlines()
    assert max(map(len, printed)) <= columns
    text = " ".join(printed)
    assert text.index(comparison.verdicts[0].verdict) < text.index("test accuracy")
    for row in list_variants(comparison):
        assert any(all(cell in line for cell in row) for line in printed), "a variant's row is one line"


def test_no_word_is_broken_in_a_terminal_of_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        ("generalises better", "UNTESTABLE", "+23.29 points", "-0.1569 to -0.0949", "0 of 3 below 1.00 points"),
        ("by depth", "UNTESTABLE", "-0.0043 nats per convolution", "-0.0096 to +0.0019", "-"),
    ]
    monkeypatch.setattr(summary, "list_verdicts", lambda _: rows)
    monkeypatch.setenv("COLUMNS", "80")
    print_summary(compare())
    printed = capsys.readouterr().out
    assert {word for row in rows for cell in row for word in cell.split()} <= set(printed.split())
    assert all(interval in printed for _, _, _, interval, _ in rows), "an interval stands on one line"


def test_the_choices_that_change_a_verdict_are_named() -> None:
    names = ("conv2_3x3", "conv2_3x3_reg", "conv2_5x5", "conv2_5x5_reg", "conv3_3x3", "conv3_3x3_reg")
    gaps = dict(zip(names, (0.05, 0.02, 0.05, 0.02, 0.05, 0.11), strict=True))
    runs = make_runs(names, seeds=range(6))
    spread = 0.004 * np.random.default_rng(2).normal(size=len(runs))
    runs["final/gap_honest"] = runs["variant"].map(gaps) + spread
    found = compare_runs(runs, lambda run_ids: make_history(runs), Question(rule="all-seeds", claims=(GAP,)))
    (line,) = say_specifications(found)
    others = [f"last epoch, without {name} and its twin: REFUTED" for name in ("conv2_3x3", "conv2_5x5")]
    assert line.endswith(f"gap (SUPPORTED) holds in 18 of 20 (not {'; '.join(others)}).")
