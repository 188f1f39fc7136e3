"""What a gate misses: stored variants without a new run, and new runs that did not finish."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import pandas as pd

from pipeline.analysis.gate.judgement import Judgement, describe
from pipeline.analysis.table.conclusion import Conclusion
from pipeline.analysis.table.selection import Selection, SharedSettings

UNKNOWN = -1  # a number that a run ended too early to log


def list_unfinished(stored: Conclusion, runs: pd.DataFrame, selection: Selection) -> list[Judgement]:
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


def list_absent(stored: Conclusion, runs: pd.DataFrame, selection: Selection, unfinished: Set[str]) -> list[Judgement]:
    """Each stored variant without any new run, finished or not, that has the stored settings."""
    judgements = []
    for variant in stored.runs["variant"].unique():
        if variant in unfinished or variant in set(selection.chosen["variant"]):
            continue
        reasons = list(selection.left_out.loc[selection.left_out["variant"] == variant, "reason"].unique())
        if runs["run_id"].isin(stored.runs.loc[stored.runs["variant"] == variant, "run_id"]).any():
            reasons.append("the stored run itself proves nothing, train it again to compare")
        detail = "; ".join(["no new finished run with the stored settings", *reasons])
        judgements.append(describe({"variant": variant, "seed": None, "run_id": None}, "run", detail))
    return judgements
