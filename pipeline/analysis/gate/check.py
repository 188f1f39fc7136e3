"""Does the code still give what a stored result file says: bit for bit at the same seed, within bounds at a new one.

A new seed is judged run by run, and all new seeds together by their mean shift (gate.metrics): a quarter of 1 -
confidence goes to either, and half is kept in hand for heavy tails. Where the predictions of the stored runs can be
read, the test images that all stored seeds of a variant got right are a metric too: how many of them a new run gets
wrong, held against how many each stored seed gets wrong of those that all the other seeds got right.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.gate.metrics import (
    GATED,
    USUAL,
    Demands,
    Judgement,
    Result,
    Scale,
    Yardstick,
    bound_mean,
    bound_run,
    describe,
    list_yardsticks,
)
from pipeline.analysis.table.conclusion import Conclusion, load_conclusion
from pipeline.analysis.table.selection import Selection, SharedSettings, select_runs
from pipeline.study.predicted import Predicted
from pipeline.study.variants import VARIANTS, Variants

WEIGHTS = "weights_sha256"
EVERY = "all variants"
IN_HAND = 0.5  # what is spent of 1 - confidence; the rest is kept for tails heavier than those assumed
UNKNOWN = -1  # a number that a run ended too early to log
FEWEST_TO_AVERAGE = 3  # new runs below which their mean says no more than each of them


def check_against(
    results: str,
    runs: pd.DataFrame,
    demands: Demands = USUAL,
    variants: Variants = VARIANTS,
    predicted: Mapping[str, Predicted] = MappingProxyType({}),
) -> list[Judgement]:
    """Judge the newest finished run of each variant and seed in `runs` against the text of a stored result file.

    The same seed, threads and fingerprint must give the same weights. Any other run must fall within the bounds of each
    metric. `predicted` has what stored and new runs said to each test image, by run id, where it can be read.
    A stored variant without a finished new run fails, and so does a variant and seed whose new runs all ended early,
    unless they may be missing. Raises AnalysisError for a damaged result file.
    """
    stored = load_conclusion(results)
    selection = select_runs(runs[~runs["run_id"].isin(stored.runs["run_id"])], stored.settings, "all-seeds", variants)
    new = [(run, _judge_repeat(run, stored.runs)) for run in selection.chosen.to_dict("records")]
    fresh = [run for run, judgement in new if judgement is None]
    sticks = list_yardsticks(stored, fresh, predicted)
    averaged = len(fresh) >= FEWEST_TO_AVERAGE
    alpha = IN_HAND * (1 - demands.confidence) / (2 if averaged else 1)
    level = alpha / max(len(sticks) * len(fresh), 1)
    judged: list[Judgement] = []
    for run, judgement in new:
        judged += [judgement] if judgement else [_judge_new(run, stick, level, demands.tolerances) for stick in sticks]
    if averaged:
        judged += [_judge_shift(stick, fresh, alpha / len(sticks)) for stick in sticks]
    missing = _list_unfinished(stored, runs, selection)
    missing += _list_absent(stored, runs, selection, {judgement.variant for judgement in missing})
    result: Result = "not judged" if demands.allow_missing else "fail"
    return judged + [replace(judgement, result=result) for judgement in missing]


def gate_passed(judgements: Sequence[Judgement]) -> bool:
    """Whether something was judged and nothing failed; a gate that judged nothing has shown nothing."""
    results = {judgement.result for judgement in judgements}
    return "pass" in results and "fail" not in results


def _judge_repeat(run: Mapping[Any, Any], stored: pd.DataFrame) -> Judgement | None:
    """The judgement of a run of a stored seed: its weights must be the same bits. None for a new seed.

    A stored run of other threads, code or versions rounds otherwise, so it is of another seed as well.
    """
    own = stored[stored["variant"] == run["variant"]]
    if own.empty:
        return describe(run, "run", "the variant is not in the result file")
    fingerprints = own["fingerprint"] if "fingerprint" in own else pd.Series("", own.index)
    same = (own["seed"] == run["seed"]) & (own["threads"] == run["threads"]) & (fingerprints == run["fingerprint"])
    if not same.any():
        return None
    expected, value = str(own.loc[same, WEIGHTS].iloc[0]), run[WEIGHTS]
    if not (expected and value):
        return describe(run, WEIGHTS, "no weights hash was recorded on both sides")
    detail = "the stored run has the same seed, threads and fingerprint, so the weights must be equal"
    return replace(
        describe(run, WEIGHTS, detail),
        expected=expected,
        value=value,
        result="pass" if value == expected else "fail",
    )


def _judge_new(run: Mapping[Any, Any], stick: Yardstick, level: float, tolerances: Mapping[str, float]) -> Judgement:
    """A new seed: its metric must fall within its bounds, else within the tolerance about the stored mean."""
    peers, spread, scale = stick.find_peers(run), stick.spread, stick.scale
    value = stick.read(run)
    judgement = replace(describe(run, stick.metric, ""), value=value)
    if math.isnan(value):
        return replace(judgement, value=None, detail="what the run predicted cannot be read")
    reason = f"n = {len(peers)} stored, "
    if spread.sd > 0:
        centre, (half, smallest) = float(scale.forward(peers).mean()), bound_run(spread, len(peers), level)
        seen = _say_smallest(scale, smallest)
        if half <= scale.widest:
            ends = sorted(scale.backward(centre + side) for side in (-half, half))
            detail = f"{reason}SD pooled over variants (df {spread.df}), bounds at {1 - level:.2%}; {seen}"
            return _place(judgement, (ends[0], ends[1]), detail)
        reason += f"bounds too wide to judge by; {seen}"
    else:
        reason += "no spread to judge by"
    if (tolerance := tolerances.get(stick.metric)) is None:
        hint = f"; store more seeds or give --tolerance {stick.metric}=VALUE" if stick.metric in GATED else ""
        return replace(judgement, detail=reason + hint)
    middle = sum(peers) / len(peers)
    detail = f"tolerance of {tolerance:g} about the mean of n = {len(peers)} stored"
    return _place(judgement, (middle - tolerance, middle + tolerance), detail)


def _judge_shift(stick: Yardstick, fresh: Sequence[Mapping[Any, Any]], alpha: float) -> Judgement:
    """All new seeds together: the mean of what each is off the mean of its variant's stored seeds."""
    judgement = Judgement(variant=EVERY, metric=f"{stick.metric}, mean shift", detail="no spread to judge by")
    used = [run for run in fresh if not math.isnan(stick.read(run))]
    spread, scale = stick.spread, stick.scale
    if not used or not spread.sd > 0:
        return judgement
    peers = {run["variant"]: len(stick.find_peers(run)) for run in used}
    counts = Counter(str(run["variant"]) for run in used)
    half, smallest = bound_mean(spread, peers, counts, alpha)
    shift = float(
        np.mean([scale.forward([stick.read(run)])[0] - scale.forward(stick.find_peers(run)).mean() for run in used])
    )
    seen = _say_smallest(scale, smallest)
    judgement = replace(judgement, value=shift)
    if half > scale.widest:
        return replace(judgement, detail=f"bounds too wide to judge by; {seen}")
    detail = f"{len(used)} new runs, on the metric's own scale; {seen}"
    return _place(judgement, (-half, half), detail)


def _say_smallest(scale: Scale, smallest: float) -> str:
    return f"sees a shift of {scale.shift.format(factor=math.exp(smallest), size=smallest)} with 80 % power"


def _place(judgement: Judgement, expected: tuple[float, float], detail: str) -> Judgement:
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
            found[cell] = describe(run | {"seed": seed}, "run", f"no finished run; {reason}")
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
        judgements.append(Judgement(variant=variant, metric="run", detail=detail))
    return judgements
