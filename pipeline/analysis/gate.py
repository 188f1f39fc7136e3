"""Does the code still give what a stored result file says: bit for bit at the same seed, within bounds at a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from pipeline.analysis.results import load_conclusion
from pipeline.analysis.selection import Selection, select_runs
from pipeline.errors import AnalysisError

WEIGHTS = "weights_sha256"
GATED = ("final/test_loss", "final/test_accuracy")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One judgement: a variant and seed, the metric looked at, what was expected and what came.

    `expected` is a hash, the bounds (low, high), or None where nothing can be expected; `detail` says how it was judged
    or why it was not. `seed` and `run_id` are None where no new run was found.
    """

    variant: str
    seed: int | None
    run_id: str | None
    metric: str
    expected: str | tuple[float, float] | None
    value: str | float | None
    verdict: Literal["pass", "fail", "not judged"]
    detail: str


def check_against(
    results: str, runs: pd.DataFrame, *, confidence: float = 0.95, tolerances: Mapping[str, float] | None = None
) -> list[Outcome]:
    """Judge the newest finished run of each variant and seed in `runs` against the text of a stored result file.

    The same seed and thread count must give the same weights. Any other run must fall, for each metric of GATED, into
    the t prediction interval of the stored seeds; `confidence` holds for all intervals together (Bonferroni). Where
    fewer than two seeds are stored, `tolerances` (metric -> half-width in its unit) takes the interval's place.
    Raises AnalysisError for a damaged result file, an unknown metric in `tolerances`.
    """
    for metric in tolerances or {}:
        if metric not in GATED:
            raise AnalysisError(f'a tolerance for "{metric}" gates nothing; choose one of {", ".join(GATED)}')
    stored = load_conclusion(results)
    selection = select_runs(runs, stored.settings, "all-seeds")
    new = [(run, stored.runs[stored.runs["variant"] == run["variant"]]) for run in selection.chosen.to_dict("records")]
    intervals = len(GATED) * sum(_is_new_seed(run, own) and len(_find_peers(run, own)) > 1 for run, own in new)
    level = 1 - (1 - confidence) / max(intervals, 1)
    outcomes = [outcome for run, own in new for outcome in _judge_run(run, own, level, tolerances or {})]
    return outcomes + _list_absent(stored.runs, selection)


def gate_passed(outcomes: Sequence[Outcome]) -> bool:
    """Whether something was judged and nothing failed; a gate that judged nothing has shown nothing."""
    verdicts = {outcome.verdict for outcome in outcomes}
    return "pass" in verdicts and "fail" not in verdicts


def prediction_interval(values: npt.ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds for one more draw from the normal population of `values` (n >= 2): mean -+ t(n-1) s sqrt(1 + 1/n).

    Source: Hahn and Meeker, Statistical Intervals (1991), section 4.7, for one future observation.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size < 2:
        raise AnalysisError("a prediction interval needs at least two stored seeds; store more, or declare a tolerance")
    quantile = stats.t.ppf((1 + confidence) / 2, sample.size - 1)
    half_width = float(quantile * sample.std(ddof=1) * np.sqrt(1 + 1 / sample.size))
    centre = float(sample.mean())
    return centre - half_width, centre + half_width


def _judge_run(
    run: Mapping[Any, Any], own: pd.DataFrame, level: float, tolerances: Mapping[str, float]
) -> list[Outcome]:
    """The outcomes of one new run against the stored runs of its variant."""
    if own.empty:
        return [_describe(run, "run", "the variant is not in the result file")]
    if run["run_id"] in set(own["run_id"]):
        return [_describe(run, "run", "this is the stored run itself; train it again to compare")]
    if not _is_new_seed(run, own):
        same = own[(own["seed"] == run["seed"]) & (own["threads"] == run["threads"])]
        return [_compare_weights(run, str(same[WEIGHTS].iloc[0]))]
    peers = _find_peers(run, own)
    return [_compare_metric(run, metric, peers, (level, tolerances.get(metric))) for metric in GATED]


def _is_new_seed(run: Mapping[Any, Any], own: pd.DataFrame) -> bool:
    """Whether no stored run has this seed with as many threads; another thread count rounds sums in another order."""
    return not ((own["seed"] == run["seed"]) & (own["threads"] == run["threads"])).any()


def _find_peers(run: Mapping[Any, Any], own: pd.DataFrame) -> pd.DataFrame:
    """The stored runs of other seeds, independent of this run; all stored ones where there is no other seed."""
    others = own[own["seed"] != run["seed"]]
    return own if others.empty else others


def _compare_weights(run: Mapping[Any, Any], expected: str) -> Outcome:
    """Same seed, same threads: the trained weights must be the same bits."""
    outcome = _describe(run, WEIGHTS, "no weights hash was recorded on both sides")
    if not (expected and run[WEIGHTS]):
        return outcome
    return replace(
        outcome,
        expected=expected,
        value=run[WEIGHTS],
        verdict="pass" if run[WEIGHTS] == expected else "fail",
        detail=f"the stored run has the same seed and {run['threads']} threads, so the weights must be equal",
    )


def _compare_metric(
    run: Mapping[Any, Any], metric: str, peers: pd.DataFrame, bounds: tuple[float, float | None]
) -> Outcome:
    """A new seed: its metric must fall into the bounds, (level of the interval, tolerance or None)."""
    (level, tolerance), stored = bounds, peers[metric].to_numpy(dtype=float)
    value = float(run[metric])
    outcome = replace(_describe(run, metric, ""), value=value)
    if len(stored) > 1 and np.ptp(stored) > 0:
        low, high = prediction_interval(stored, level)
        detail = f"{level:.2%} prediction interval for a new seed, from n = {len(stored)} stored seeds"
    elif tolerance is not None:
        low, high = stored.mean() - tolerance, stored.mean() + tolerance
        detail = f"declared tolerance of {tolerance:g} about the mean of n = {len(stored)} stored"
    else:
        reason = "all equal, so no spread to predict from" if len(stored) > 1 else "a prediction interval needs 2"
        return replace(outcome, detail=f"n = {len(stored)} stored, {reason}; store more seeds or declare a tolerance")
    verdict: Literal["pass", "fail"] = "pass" if low <= value <= high else "fail"
    return replace(outcome, expected=(float(low), float(high)), verdict=verdict, detail=detail)


def _list_absent(stored: pd.DataFrame, selection: Selection) -> list[Outcome]:
    """One outcome for each stored variant that has no new run, with what is known of its runs."""
    outcomes = []
    for variant in stored["variant"].unique():
        if variant not in set(selection.chosen["variant"]):
            reasons = selection.left_out.loc[selection.left_out["variant"] == variant, "reason"].unique()
            detail = "; ".join(["no finished run with the stored settings", *reasons])
            outcomes.append(_describe({"variant": variant, "seed": None, "run_id": None}, "run", detail))
    return outcomes


def _describe(run: Mapping[Any, Any], metric: str, detail: str) -> Outcome:
    """An outcome of this run that is not judged (yet)."""
    return Outcome(
        variant=run["variant"],
        seed=run["seed"],
        run_id=run["run_id"],
        metric=metric,
        expected=None,
        value=None,
        verdict="not judged",
        detail=detail,
    )
