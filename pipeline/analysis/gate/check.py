"""Does the code still give what a stored result file says: bit for bit at the same seed, within bounds at a new one.

A new seed is judged run by run, and all new seeds together by their mean shift (gate_bounds): a quarter of 1 -
confidence goes to either, and half is kept in hand for heavy tails. Where the predictions of the stored runs can be
read, the test images that all stored seeds of a variant got right are a metric too: how many of them a new run gets
wrong, held against how many each stored seed gets wrong of those that all the other seeds got right.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.analysis.gate.bounds import Scale, bound_mean, bound_run
from pipeline.analysis.gate.metrics import GATED, Yardstick, list_yardsticks
from pipeline.analysis.table.conclusion import Conclusion
from pipeline.analysis.table.results import load_conclusion
from pipeline.analysis.table.selection import Selection, SharedSettings, select_runs
from pipeline.errors import AnalysisError
from pipeline.study.predicted import Predicted
from pipeline.study.variants import VARIANTS, Variants

WEIGHTS = "weights_sha256"
UNKNOWN = -1  # a number that a run ended too early to log
EVERY = "all variants"
IN_HAND = 0.5  # what is spent of 1 - confidence; the rest is kept for tails heavier than those assumed
FEWEST_TO_AVERAGE = 3  # new runs below which their mean says no more than each of them


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
    predicted: Mapping[str, Predicted] | None = None,
) -> list[Judgement]:
    """Judge the newest finished run of each variant and seed in `runs` against the text of a stored result file.

    The same seed, threads and fingerprint must give the same weights. Any other run must fall within the bounds of each
    metric; `confidence` holds for all bounds together (Bonferroni). Where no spread is stored, or the bounds are too
    wide, `tolerances` (metric -> half-width in its unit) takes their place. `predicted` has what stored and new runs
    said to each test image, by run id, where it can be read.
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
    fresh = [run for run, own in new if not own.empty and _is_new_seed(run, own)]
    sticks = list_yardsticks(stored, fresh, predicted or {})
    averaged = len(fresh) >= FEWEST_TO_AVERAGE
    alpha = IN_HAND * (1 - confidence) / (2 if averaged else 1)
    level = alpha / max(len(sticks) * len(fresh), 1)
    judged = [judgement for run, own in new for judgement in _judge_run(run, own, sticks, (level, tolerances or {}))]
    if averaged:
        judged += [_judge_shift(stick, fresh, alpha / len(sticks)) for stick in sticks]
    missing = _list_unfinished(stored, runs, selection)
    missing += _list_absent(stored, runs, selection, {judgement.variant for judgement in missing})
    return judged + [replace(judgement, result="not judged" if allow_missing else "fail") for judgement in missing]


def gate_passed(judgements: Sequence[Judgement]) -> bool:
    """Whether something was judged and nothing failed; a gate that judged nothing has shown nothing."""
    results = {judgement.result for judgement in judgements}
    return "pass" in results and "fail" not in results


def _judge_run(
    run: Mapping[Any, Any],
    own: pd.DataFrame,
    sticks: Sequence[Yardstick],
    bounds: tuple[float, Mapping[str, float]],
) -> Iterator[Judgement]:
    """The judgements of one new run against the stored runs of its variant; `bounds` are (level, tolerances)."""
    if own.empty:
        yield _describe(run, "run", "the variant is not in the result file")
    elif not _is_new_seed(run, own):
        yield _compare_weights(run, str(own[_find_repeats(run, own)][WEIGHTS].iloc[0]))
    else:
        level, tolerances = bounds
        for stick in sticks:
            yield _compare_metric(run, stick, level, tolerances.get(stick.metric))


def _is_new_seed(run: Mapping[Any, Any], own: pd.DataFrame) -> bool:
    """Whether this run repeats no stored one."""
    return not _find_repeats(run, own).any()


def _find_repeats(run: Mapping[Any, Any], own: pd.DataFrame) -> pd.Series:
    """Which stored runs have this seed, threads and fingerprint; other threads, code or versions round otherwise."""
    fingerprints = own["fingerprint"] if "fingerprint" in own else pd.Series("", own.index)
    same = (own["seed"] == run["seed"]) & (own["threads"] == run["threads"]) & (fingerprints == run["fingerprint"])
    return pd.Series(same)


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


def _compare_metric(run: Mapping[Any, Any], stick: Yardstick, level: float, tolerance: float | None) -> Judgement:
    """A new seed: its metric must fall within its bounds, else within the tolerance about the stored mean."""
    peers, spread, scale = stick.find_peers(run), stick.spread, stick.scale
    value = stick.read(run)
    judgement = replace(_describe(run, stick.metric, ""), value=value)
    if math.isnan(value):
        return replace(judgement, value=None, detail="what the run predicted cannot be read")
    reason = f"n = {len(peers)} stored, "
    if spread.sd > 0:
        centre, bounds = float(scale.forward(peers).mean()), bound_run(spread, len(peers), level)
        seen = _say_smallest(scale, bounds.smallest)
        if bounds.half <= scale.widest:
            ends = sorted(scale.backward(centre + side) for side in (-bounds.half, bounds.half))
            detail = f"{reason}SD pooled over variants (df {spread.df}), bounds at {1 - level:.2%}; {seen}"
            return _place(judgement, (ends[0], ends[1]), detail)
        reason += f"bounds too wide to judge by; {seen}"
    else:
        reason += "no spread to judge by"
    if tolerance is None:
        hint = f"; store more seeds or give --tolerance {stick.metric}=VALUE" if stick.metric in GATED else ""
        return replace(judgement, detail=reason + hint)
    middle = sum(peers) / len(peers)
    detail = f"tolerance of {tolerance:g} about the mean of n = {len(peers)} stored"
    return _place(judgement, (middle - tolerance, middle + tolerance), detail)


def _judge_shift(stick: Yardstick, fresh: Sequence[Mapping[Any, Any]], alpha: float) -> Judgement:
    """All new seeds together: the mean of what each is off the mean of its variant's stored seeds."""
    run = {"variant": EVERY, "seed": None, "run_id": None}
    judgement = _describe(run, f"{stick.metric}, mean shift", "no spread to judge by")
    used = [run for run in fresh if not math.isnan(stick.read(run))]
    spread, scale = stick.spread, stick.scale
    if not used or not spread.sd > 0:
        return judgement
    peers = {run["variant"]: len(stick.find_peers(run)) for run in used}
    counts = Counter(str(run["variant"]) for run in used)
    bounds = bound_mean(spread, peers, counts, alpha)
    shift = float(
        np.mean([scale.forward([stick.read(run)])[0] - scale.forward(stick.find_peers(run)).mean() for run in used])
    )
    seen = _say_smallest(scale, bounds.smallest)
    judgement = replace(judgement, value=shift)
    if bounds.half > scale.widest:
        return replace(judgement, detail=f"bounds too wide to judge by; {seen}")
    detail = f"{len(used)} new runs, on the metric's own scale; {seen}"
    return _place(judgement, (-bounds.half, bounds.half), detail)


def _say_smallest(scale: Scale, smallest: float) -> str:
    """What the bounds would notice."""
    return f"sees a shift of {scale.shift.format(factor=math.exp(smallest), size=smallest)} with 80 % power"


def _place(judgement: Judgement, expected: tuple[float, float], detail: str) -> Judgement:
    """The judgement of a value that must lie within `expected`."""
    low, high = expected
    passed = isinstance(judgement.value, float) and low <= judgement.value <= high
    return replace(judgement, expected=expected, result="pass" if passed else "fail", detail=detail)


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
