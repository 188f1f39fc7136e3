from __future__ import annotations

import numpy as np

from pipeline.analysis.claims.design import Design, Records
from pipeline.analysis.claims.specification import vary_choices
from pipeline.analysis.statistics import count_best
from tests.analysis.studies import GAP, NO_HISTORY, ONSET, draw_curves, judge, plant_gap, plant_history, plant_runs


def test_seeds_that_alone_point_the_other_way_are_counted():
    effects = np.array([-0.03, -0.02, 0.01, -0.04, 0.002, -0.03])[:, None] + np.zeros(3)
    assert judge(GAP, plant_gap(effects)).astray == 2


def test_the_best_of_each_seed_is_counted():
    names = ("conv2_3x3", "conv2_5x5", "conv3_3x3")
    runs = plant_runs(
        4, {"final/test_accuracy": [[0.9, 0.8, 0.1], [0.8, 0.9, 0.1], [0.9, 0.9, 0.1], [0.9, 0.1, 0.1]]}, names
    )
    assert count_best(runs) == ({"conv2_3x3": 3, "conv2_5x5": 2}, 4)
    assert count_best(runs[runs["run_id"] != "conv3_3x3-0"])[1] == 3
    assert count_best(runs[runs["seed"] == 0]) == ({}, 0)


def test_a_claim_is_judged_again_over_a_fixed_grid():
    effects = -0.03 + 0.001 * np.random.default_rng(1).normal(size=(6, 3))
    records = Records(runs=plant_gap(effects), history=NO_HISTORY)
    (found,) = vary_choices([judge(GAP, records.runs)], records, Design())
    # no curves, so the last epoch alone: all, without each of 3 twins, without each of 6 seeds
    assert (found.holds, len(found.choices)) == (10, 10)
    assert [choice.label for choice in found.choices[:3]] == [
        "last epoch",
        "last epoch, without conv2_3x3 and its twin",
        "last epoch, without conv2_5x5 and its twin",
    ]
    effects[:, 0] = -0.3
    effects[:, 1:] += 0.03
    records = Records(runs=plant_gap(effects), history=NO_HISTORY)
    (carried,) = vary_choices([judge(GAP, records.runs)], records, Design())
    assert carried.holds == 9  # without the one twin that carries it, it does not hold
    assert carried.choices[1].outcome != "SUPPORTED"


def test_of_many_seeds_each_twentieth_is_left_out():
    records = Records(runs=plant_gap(-0.03 + 0.001 * np.random.default_rng(1).normal(size=(50, 3))), history=NO_HISTORY)
    (found,) = vary_choices([judge(GAP, records.runs)], records, Design())
    labels = [choice.label for choice in found.choices]
    assert labels[4:6] == ["last epoch, without seeds 0 to 2", "last epoch, without seeds 3 to 5"]
    assert (len(labels), labels[-1]) == (1 + 3 + 20, "last epoch, without seeds 48 to 49")


def test_an_onset_is_judged_at_other_rises():
    runs = plant_runs(6, {})
    turns = np.where(runs["regularised"], 99, 9)
    history = plant_history(runs, draw_curves(turns, 0.003, 0.0005, np.random.default_rng(2)))
    (found,) = vary_choices([judge(ONSET, runs, history)], Records(runs=runs, history=history), Design())
    assert [choice.label for choice in found.choices if "without" not in choice.label] == [
        "a rise of 0.0025 nats",
        "a rise of 0.005 nats",
        "a rise of 0.01 nats",
    ]
    assert len(found.choices) == 3 * (1 + 8 + 6)
