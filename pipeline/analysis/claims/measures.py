"""What a claim is about, measured in each run: a gap, loss or error where it is to be read, or an onset."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.analysis.claims.design import Records
from pipeline.analysis.onset import find_onsets
from pipeline.study import metrics
from pipeline.study.claims import CONFIRMING_EPOCHS, Claim

FINALS = {
    "gap": metrics.GAP_HONEST.final,
    "test_loss": metrics.HONEST_TEST_LOSS.final,
    "test_error": metrics.TEST_ACCURACY.final,
}
CURVES = {
    "gap": (metrics.HONEST_TEST_LOSS, metrics.HONEST_TRAIN_LOSS),
    "test_loss": (metrics.HONEST_TEST_LOSS,),
    "test_error": (metrics.TEST_ACCURACY,),
}
"""What an estimand is by epoch: the first metric, less the second where there is one; an error is 1 - accuracy."""


def count_epochs(claim: Claim) -> int:
    """How many of the last epochs are averaged."""
    return 3 if claim.at == "mean of last 3 epochs" else 1


def measure_runs(records: Records, claim: Claim) -> pd.Series[float]:
    """The claim's estimand of each run, indexed like `records.runs`; nan where a run lacks it.

    After the last epoch the gap is that of all training images; by epoch it is read on the probe of 10,000 of them.
    An onset is 1 where it lies within the claim's epochs and else 0; it needs CONFIRMING_EPOCHS epochs after the
    window. Raises AnalysisError if a run has an epoch twice.
    """
    runs = records.runs
    if claim.epochs is not None:
        onsets = find_onsets(records.history[records.history["run_id"].isin(runs["run_id"])], claim.smallest_rise)
        onsets = onsets[onsets["epochs"] >= claim.epochs[1] + CONFIRMING_EPOCHS]
        return runs["run_id"].map(onsets["onset"].between(*claim.epochs).astype(float))
    last = count_epochs(claim) == 1
    values = runs[FINALS[claim.estimand]].astype(float) if last else _average_last(records, claim)
    return 1 - values if claim.estimand == "test_error" else values


def _average_last(records: Records, claim: Claim) -> pd.Series[float]:
    """The mean over the last epochs of each run; nan where one of them is missing or not finite."""
    number, runs = count_epochs(claim), records.runs
    last = runs.set_index("run_id")["epochs"]
    means = []
    for metric in CURVES[claim.estimand]:
        curve = records.history[records.history["metric"] == metric]
        ends = curve["run_id"].map(last).astype(float)
        epochs = curve["epoch"].astype(float)
        recent = curve[epochs.gt(ends - number) & epochs.le(ends)]
        values = recent["value"].astype(float)
        known = recent.assign(value=values.where(np.isfinite(values))).groupby("run_id", observed=True)["value"]
        whole = known.mean().where(known.count() == number).reindex(runs["run_id"])
        means.append(pd.Series(whole.to_numpy(dtype=float), runs.index))
    return means[0] - means[1] if len(means) > 1 else means[0]
