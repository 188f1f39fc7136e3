from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.claims.contrasts import measure_runs
from pipeline.analysis.claims.design import Records
from pipeline.report.text.sentences import say_verdict
from tests.analysis.studies import EPOCHS, ERROR, GAP, judge, plant_errors, plant_gap, plant_runs

MEAN = {"at": "mean of last 3 epochs"}
METRICS = ("honest/test_loss", "honest/train_loss", "test/accuracy")


def plant_curves(runs, ends):
    """Curves of METRICS that are 9 until three epochs before the end and then `ends` (metrics, 3), plus the seed."""
    rows = [
        (run_id, metric, epoch, 9.0 if epoch <= EPOCHS - 3 else last[epoch - EPOCHS + 2] + seed / 100)
        for run_id, seed in zip(runs["run_id"], runs["seed"], strict=True)
        for metric, last in zip(METRICS, ends, strict=True)
        for epoch in range(1, EPOCHS + 1)
    ]
    return pd.DataFrame(rows, columns=["run_id", "metric", "epoch", "value"])


def test_the_last_three_epochs_are_averaged():
    runs = plant_runs(2, {}).head(4)
    history = plant_curves(runs, [(0.5, 0.6, 0.7), (0.1, 0.1, 0.4), (0.9, 0.96, 0.99)]).sample(frac=1, random_state=1)
    records = Records(runs=runs, history=history)
    gap, error = (measure_runs(records, replace(claim, **MEAN)) for claim in (GAP, ERROR))
    assert gap.tolist() == pytest.approx([0.4] * 4)
    assert error.tolist() == pytest.approx((0.05 - runs["seed"] / 100).tolist())


def test_an_epoch_that_is_missing_or_not_finite_leaves_none():
    runs = plant_runs(1, {}).head(3)
    history = plant_curves(runs, [(0.5, 0.6, 0.7)] * 3)
    at = (history["metric"] == "honest/test_loss") & (history["epoch"] == EPOCHS - 1)
    history.loc[at & (history["run_id"] == runs["run_id"][0]), "value"] = np.inf
    history = history[~(at & (history["run_id"] == runs["run_id"][1]))]
    values = measure_runs(Records(runs=runs, history=history), replace(GAP, **MEAN))
    assert np.isnan(values.tolist()[:2]).all()
    assert values.tolist()[2] == pytest.approx(0)


def test_the_sentence_says_where_it_was_read():
    runs = plant_gap(np.full((6, 3), -0.03) + 0.001 * np.random.default_rng(1).normal(size=(6, 3)))
    assert "; epoch 25;" in say_verdict(judge(GAP, runs))
    errors = plant_errors(0.0)
    history = plant_curves(errors, [(0.5, 0.6, 0.7)] * 3)
    judged = judge(replace(ERROR, **MEAN), errors, history)
    assert "means of the last 3 epochs" in say_verdict(judged)
    assert judged.effect == pytest.approx(0)
