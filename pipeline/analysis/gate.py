"""Does the code still give what a stored result file says: bit for bit at the same seed, within bounds at a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from pipeline.analysis.conclusion import Conclusion
from pipeline.analysis.results import load_conclusion
from pipeline.analysis.selection import Selection, SharedSettings, select_runs
from pipeline.errors import AnalysisError
from pipeline.study.variants import VARIANTS, Variants

WEIGHTS = "weights_sha256"
UNKNOWN = -1  # a number that a run ended too early to log
GATED = ("final/test_loss", "final/test_accuracy")


@dataclass(frozen=True, kw_only=True)
class Judgement:
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
    result: Literal["pass", "fail", "not judged"]
    detail: str


def check_against(
    results: str,
    runs: pd.DataFrame,
    *,
    confidence: float = 0.95,
    tolerances: Mapping[str, float] | None = None,
    allow_missing: bool = False,
    variants: Variants = VARIANTS,
) -> list[Judgement]:
    """Judge the newest finished run of each variant and seed in `runs` against the text of a stored result file.

    The same seed, threads and fingerprint must give the same weights. Any other run must fall, for each metric of
    GATED, into the t prediction interval of the stored seeds; `confidence` holds for all intervals together
    (Bonferroni). Where fewer than two seeds are stored, `tolerances` (metric -> half-width in its unit) takes the
    interval's place.
    A stored variant without a finished new run fails, and so does a variant and seed whose new runs all ended early;
    with `allow_missing` neither is judged.
    Raises AnalysisError for a damaged result file, an unknown metric in `tolerances`.
    """
    for metric in tolerances or {}:
        if metric not in GATED:
            raise AnalysisError(f'a tolerance for "{metric}" gates nothing; choose one of {", ".join(GATED)}')
    stored = load_conclusion(results)
    selection = select_runs(runs[~runs["run_id"].isin(stored.runs["run_id"])], stored.settings, "all-seeds", variants)
    new = [(run, stored.runs[stored.runs["variant"] == run["variant"]]) for run in selection.chosen.to_dict("records")]
    intervals = len(GATED) * sum(_is_new_seed(run, own) and len(_find_peers(run, own)) > 1 for run, own in new)
    level = 1 - (1 - confidence) / max(intervals, 1)
    judged = [judgement for run, own in new for judgement in _judge_run(run, own, level, tolerances or {})]
    missing = _list_unfinished(stored, runs, selection)
    missing += _list_absent(stored, runs, selection, {judgement.variant for judgement in missing})
    return judged + [replace(judgement, result="not judged" if allow_missing else "fail") for judgement in missing]


def gate_passed(judgements: Sequence[Judgement]) -> bool:
    """Whether something was judged and nothing failed; a gate that judged nothing has shown nothing."""
    results = {judgement.result for judgement in judgements}
    return "pass" in results and "fail" not in results


def prediction_interval(values: npt.ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds for one more draw from the normal population of `values` (n >= 2): mean -+ t(n-1) s sqrt(1 + 1/n).

    Source: Hahn and Meeker, Statistical Intervals (1991), section 4.7, for one future observation.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size < 2:
        raise AnalysisError("a prediction interval needs at least two stored seeds; store more, or give a tolerance")
    quantile = special.stdtrit(sample.size - 1, (1 + confidence) / 2)
    half_width = float(quantile * sample.std(ddof=1) * np.sqrt(1 + 1 / sample.size))
    centre = float(sample.mean())
    return centre - half_width, centre + half_width


def _judge_run(
    run: Mapping[Any, Any], own: pd.DataFrame, level: float, tolerances: Mapping[str, float]
) -> list[Judgement]:
    """The judgements of one new run against the stored runs of its variant."""
    if own.empty:
        return [_describe(run, "run", "the variant is not in the result file")]
    if not _is_new_seed(run, own):
        return [_compare_weights(run, str(own[_find_repeats(run, own)][WEIGHTS].iloc[0]))]
    peers = _find_peers(run, own)
    return [_compare_metric(run, metric, peers, (level, tolerances.get(metric))) for metric in GATED]


def _is_new_seed(run: Mapping[Any, Any], own: pd.DataFrame) -> bool:
    """Whether this run repeats no stored one."""
    return not _find_repeats(run, own).any()


def _find_repeats(run: Mapping[Any, Any], own: pd.DataFrame) -> pd.Series:
    """Which stored runs have this seed, threads and fingerprint; other threads, code or versions round otherwise."""
    fingerprints = own["fingerprint"] if "fingerprint" in own else pd.Series("", own.index)
    same = (own["seed"] == run["seed"]) & (own["threads"] == run["threads"]) & (fingerprints == run["fingerprint"])
    return pd.Series(same)


def _find_peers(run: Mapping[Any, Any], own: pd.DataFrame) -> pd.DataFrame:
    """The stored runs of other seeds, independent of this run; all stored ones where there is no other seed."""
    others = own[own["seed"] != run["seed"]]
    return own if others.empty else others


def _compare_weights(run: Mapping[Any, Any], expected: str) -> Judgement:
    """Same seed, threads and fingerprint: the trained weights must be the same bits."""
    judgement = _describe(run, WEIGHTS, "no weights hash was recorded on both sides")
    if not (expected and run[WEIGHTS]):
        return judgement
    return replace(
        judgement,
        expected=expected,
        value=run[WEIGHTS],
        result="pass" if run[WEIGHTS] == expected else "fail",
        detail="the stored run has the same seed, threads and fingerprint, so the weights must be equal",
    )


def _compare_metric(
    run: Mapping[Any, Any], metric: str, peers: pd.DataFrame, bounds: tuple[float, float | None]
) -> Judgement:
    """A new seed: its metric must fall into the bounds, (level of the interval, tolerance or None)."""
    (level, tolerance), stored = bounds, peers[metric].to_numpy(dtype=float)
    value = float(run[metric])
    judgement = replace(_describe(run, metric, ""), value=value)
    if len(stored) > 1 and np.ptp(stored) > 0:
        low, high = prediction_interval(stored, level)
        detail = f"{level:.2%} prediction interval for a new seed, from n = {len(stored)} stored seeds"
    elif tolerance is not None:
        low, high = stored.mean() - tolerance, stored.mean() + tolerance
        detail = f"tolerance of {tolerance:g} about the mean of n = {len(stored)} stored"
    else:
        reason = "all equal, so no spread to predict from" if len(stored) > 1 else "a prediction interval needs 2"
        return replace(
            judgement, detail=f"n = {len(stored)} stored, {reason}; store more seeds or give --tolerance {metric}=VALUE"
        )
    result: Literal["pass", "fail"] = "pass" if low <= value <= high else "fail"
    return replace(judgement, expected=(float(low), float(high)), result=result, detail=detail)


def _list_unfinished(stored: Conclusion, runs: pd.DataFrame, selection: Selection) -> list[Judgement]:
    """Each stored variant and any seed whose runs since then did not finish, with the newest one's reason."""
    known = set(zip(stored.left_out["run_id"], stored.left_out["reason"], strict=True))
    cells = set(zip(selection.chosen["variant"], selection.chosen["seed"], strict=True))
    reasons = dict(zip(selection.left_out["run_id"], selection.left_out["reason"], strict=True))
    found = {}
    for run in runs.sort_values(["started", "run_id"]).to_dict("records"):
        cell, reason = (run["variant"], run["seed"]), reasons.get(run["run_id"])
        if reason is None or (run["run_id"], reason) in known or cell in cells:
            continue
        if run["variant"] in set(stored.runs["variant"]) and not _has_other_settings(run, stored.settings):
            seed = None if run["seed"] == UNKNOWN else run["seed"]
            found[cell] = _describe(run | {"seed": seed}, "run", f"no finished run; {reason}")
    return list(found.values())


def _has_other_settings(run: Mapping[Any, Any], settings: SharedSettings) -> bool:
    """Whether a run is known to have other settings; one that ended before it logged them is not."""
    return any(run[name] not in (value, "", UNKNOWN) for name, value in settings.list_shared().items())


def _list_absent(stored: Conclusion, runs: pd.DataFrame, selection: Selection, unfinished: Set[str]) -> list[Judgement]:
    """Each stored variant without any new run, finished or not, that has the stored settings."""
    judgements = []
    for variant in stored.runs["variant"].unique():
        if variant in unfinished or variant in set(selection.chosen["variant"]):
            continue
        reasons = list(selection.left_out.loc[selection.left_out["variant"] == variant, "reason"].unique())
        if runs["run_id"].isin(stored.runs.loc[stored.runs["variant"] == variant, "run_id"]).any():
            reasons.append("the stored run itself proves nothing, train it again to compare")
        detail = "; ".join(["no new finished run with the stored settings", *reasons])
        judgements.append(_describe({"variant": variant, "seed": None, "run_id": None}, "run", detail))
    return judgements


def _describe(run: Mapping[Any, Any], metric: str, detail: str) -> Judgement:
    """A judgement of this run that is not made (yet)."""
    return Judgement(
        variant=run["variant"],
        seed=run["seed"],
        run_id=run["run_id"],
        metric=metric,
        expected=None,
        value=None,
        result="not judged",
        detail=detail,
    )
