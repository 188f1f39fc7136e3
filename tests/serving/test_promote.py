"""Which run the evidence carries: the rule looks at no score, and refuses in one line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.comparison import Comparison, Question, compare_runs
from pipeline.errors import AnalysisError, UnknownVariant
from pipeline.serving.card import Source, write_card
from pipeline.serving.promote import choose_run
from pipeline.study.claims import Claim
from tests.analysis.studies import ERROR, GAP
from tests.frames import make_history, make_runs

PAIRS = ("conv2_3x3", "conv2_3x3_reg", "conv3_3x3", "conv3_3x3_reg")
LOSS = replace(ERROR, name="loss", statement="no more loss", estimand="test_loss", smallest_effect=0.01)


def compare(
    more_error: float = -0.01,
    more_loss: float = -0.1,
    seeds: int = 5,
    claims: tuple[Claim, ...] = (ERROR, LOSS, GAP),
    spread: float = 0.0001,
    **asked: object,
) -> Comparison:
    """Runs in which the regularised variants have so much more error and loss."""
    runs = make_runs(PAIRS, range(seeds))
    scatter = spread * np.cos(runs["seed"]) * np.where(runs["regularised"], 1, -1)
    runs["final/test_accuracy"] = 0.95 - runs["regularised"] * more_error + scatter
    runs["final/honest_test_loss"] = 0.2 + runs["regularised"] * more_loss + scatter
    question = Question(rule="all-seeds", claims=claims, variants=PAIRS, **asked)  # type: ignore[arg-type]
    return compare_runs(runs, lambda ids: make_history(runs[runs["run_id"].isin(ids)]), question)


@pytest.mark.parametrize(("more", "chosen"), [(-0.01, "conv3_3x3_reg"), (0.05, "conv3_3x3")])
def test_the_claims_choose_the_arm_and_the_size_the_variant(more: float, chosen: str) -> None:
    choice = choose_run(compare(more, more))
    verdict = "SUPPORTED" if more < 0 else "REFUTED"
    assert choice.variant.name == chosen
    assert f"(error {verdict}, loss {verdict}) chose the " in choice.reason
    lowest = choice.runs[choice.runs["seed"] == 0]
    assert choice.run_id == lowest["run_id"].iloc[0]


def test_no_score_of_a_variant_or_a_seed_chooses() -> None:
    comparison = compare()
    better = comparison.runs["variant"].eq("conv2_3x3_reg") | comparison.runs["seed"].eq(3)
    comparison.runs.loc[better, "final/test_accuracy"] += 0.005
    choice = choose_run(comparison)
    assert (choice.variant.name, choice.runs.set_index("run_id")["seed"][choice.run_id]) == ("conv3_3x3_reg", 0)


def test_a_named_variant_is_taken_and_the_card_says_so() -> None:
    choice = choose_run(compare(), "conv2_3x3_reg", frozen_late=True)
    assert choice.variant.name == "conv2_3x3_reg"
    assert choice.reason.startswith("The user named the variant. If the name was chosen by test scores, ")
    assert "do not speak against it (error SUPPORTED, loss SUPPORTED). " in choice.reason
    assert "not frozen before the first run" in choice.reason
    assert "claims" not in choose_run(compare(claims=()), "conv2_3x3").reason


@pytest.mark.parametrize(
    ("comparison", "named", "late", "reason"),
    [
        (compare(0.001, spread=0.001), "", False, 'the claim "error" is INCONCLUSIVE: 5 seeds do not decide it; about'),
        (compare(0.001, spread=0.001), "conv2_3x3", False, 'the claim "error" is INCONCLUSIVE: 5 seeds do not'),
        (compare(seeds=4), "", False, 'the claim "error" is UNTESTABLE: '),
        (compare(0.05, -0.1), "", False, "the claims do not agree (error REFUTED, loss SUPPORTED); more seeds or"),
        (compare(frozen={"error": "x"}, planned={}), "", False, 'the claim "error" is DEVIATED: it changed after the'),
        (compare(claims=(GAP,)), "", False, "no claim of the experiment chooses between regularised and plain; give"),
        (compare(claims=()), "", False, "no claim of the experiment chooses between regularised and plain; give an"),
        (compare(), "", True, "the claims were not frozen before the first run, so they may have been chosen by"),
        (compare(), "conv2_3x3", False, "the claims (error SUPPORTED, loss SUPPORTED) choose the regularised arm, and"),
        (compare(), "conv3_5x5_reg", False, "conv3_5x5_reg has no matched twin, so the experiment's claims say"),
        (
            compare(seeds=4, claims=()),
            "conv2_3x3",
            False,
            "conv2_3x3 has 4 finished seeds under the same settings, and a promotion needs 5; train more of them with",
        ),
        (compare(), "conv5_3x3_reg", False, "conv5_3x3_reg has 0 finished seeds under the same settings"),
    ],
)
def test_what_the_evidence_does_not_carry_is_refused(
    comparison: Comparison, named: str, late: bool, reason: str
) -> None:
    with pytest.raises(AnalysisError) as caught:
        choose_run(comparison, named, late)
    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_no_variant_is_refused() -> None:
    with pytest.raises(UnknownVariant):
        choose_run(compare(), "conv9")


def test_the_card_holds_the_numbers_of_the_analysis() -> None:
    choice = choose_run(compare())
    facts = {
        **{"seed": "0", "subset": "0", "normalization": "l2", "epochs": "25", "batch-size": "128", "threads": "2"},
        **{"learning-rate": "0.001", "data": "auto", "data-name": "mnist"},
        **{"data-sha256": "d" * 64, "weights.sha256": "e" * 64},
        **{"fingerprint": "f" * 64, "git.dirty": "True", "mlflow.source.git.commit": "c" * 40},
    }
    facts |= {"precision": "mixed_bfloat16", "jit": "on"}
    source = Source(experiment="a|b", facts=facts, versions={"keras": "3"}, test_images=10_000)
    card = write_card(choice, source)
    row = next(line for line in card.splitlines() if line.startswith("| test accuracy"))
    accuracies = choice.runs.sort_values("seed")["final/test_accuracy"]
    _, own, mean, interval = (cell.strip() for cell in row.strip("|").split("|"))
    assert (own, mean) == (f"{accuracies.iloc[0]:.5f}", f"{accuracies.mean():.5f}")
    half = 2.7764451 * accuracies.std() / 5**0.5  # the t of 95 % with 4 degrees of freedom, from a table
    assert interval == f"{accuracies.mean() - half:.5f} to {accuracies.mean() + half:.5f}"
    for part in (
        "mean of 5 seeds",
        "(0, 1, 2, 3, 4)",
        "10,000 test images",
        "mixed_bfloat16, compiled by XLA;",
        "| no more errors | SUPPORTED | -1.",
        "a\\|b",
    ):
        assert part in card
    for value in (choice.run_id, "d" * 64, "e" * 64, "f" * 64, f"{'c' * 40} (with changes, see git.diff)"):
        assert f"`{value}`" in card
    assert len(card) < 5000
    del facts["learning-rate"]
    assert "Adam at unknown" in write_card(choice, source)
    foreign = write_card(choice, replace(source, facts={**facts, "learning-rate": "<b>", "data-sha256": "`<b>"}))
    assert r"Adam at \<b\>" in foreign
    assert "sha256 `` `<b> ``;" in foreign
    assert pd.notna(accuracies).all()
