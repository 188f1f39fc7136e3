"""Which runs may stand in one table: the same settings, finished, and one rule that picks among them.

A `runs` frame has one row a run, as the tracking room hands it over: run_id, variant, seed, the settings, outcome and
reason, started and ended (UTC), weights_sha256, and one float column for each final metric (`final/test_loss`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.errors import AnalysisError
from pipeline.images import CLASSES, MNIST, SHAPE, Images, restore_images
from pipeline.study import metrics
from pipeline.study.layers import count_parameters
from pipeline.study.settings import COMPARED, Settings
from pipeline.study.settings import RULES as SETTINGS
from pipeline.study.variants import VARIANTS, Variant, Variants

METRICS: Mapping[str, str] = {
    "TRAIN_LOSS": metrics.TRAIN_LOSS.final,
    "TEST_LOSS": metrics.TEST_LOSS.final,
    "TRAIN_ACC": metrics.TRAIN_ACCURACY.final,
    "TEST_ACC": metrics.TEST_ACCURACY.final,
}
"""The conclusion table's four measured columns, with the metric that each shows."""

RULES: Mapping[str, str] = {
    "newest": "newest finished run of each variant",
    "best": "best final/test_accuracy of each variant: selected on the test images, so descriptive only",
    "all-seeds": "newest finished run of each variant and seed; mean and 95 % t-interval over seeds",
}
"""How one run (or one a seed) is picked where a variant has several."""
NETWORK = ("depth_counted", "kernel", "regularised", "dropout", "batch_norm", "parameters")
"""The columns of a run that tell which network it trained."""

MNIST_SHA256 = "889f531a0f022f407a2f3595d6f6a19519315b0e4e4d009a221f065ad85b5b7a"
"""What the data room calls MNIST's 60,000 + 10,000 digits: the sha256 over its four arrays' own."""


@dataclass(frozen=True, kw_only=True)
class SharedSettings(Settings):
    """What runs must share to be compared; the defaults are the study's own, and a subset has a hash of its own.

    The settings that need not be equal are there too, and mean nothing.
    """

    data_sha256: str = MNIST_SHA256

    def list_shared(self) -> dict[str, int | str]:
        """The settings that must be equal, and the hash of the data, by name."""
        return {name: getattr(self, name) for name in (*COMPARED, "data_sha256")}

    def describe_differences(self, run: Mapping[Any, Any]) -> str:
        """The settings in which `run` is another one, as `epochs 5, asked 25; ...`; empty if there are none."""
        return "; ".join(
            f"{name} {_shorten(name, run[name])}, asked {_shorten(name, value)}"
            for name, value in self.list_shared().items()
            if run[name] != value
        )


STUDY_SETTINGS = SharedSettings()


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """The runs that were chosen and those that were not.

    `chosen` has the columns of the runs frame, rows in the order of the study's table, then by seed; `left_out` has
    run_id, variant, seed and the reason, one row for every other run.
    """

    rule: str
    settings: SharedSettings
    chosen: pd.DataFrame
    left_out: pd.DataFrame


def newest_settings(runs: pd.DataFrame, variants: Variants = VARIANTS, **asked: int | str) -> SharedSettings:
    """The settings of the newest finished run among those with the settings `asked` (`epochs=5`), all of them if none.

    Raises AnalysisError where there is no such run of one of `variants`.
    """
    finished = runs[(runs["outcome"] == "finished") & runs["variant"].isin(list(variants))]
    for name, value in asked.items():
        finished = finished[finished[name] == value]
    if finished.empty:
        wanted = " and ".join(f"{name} {value}" for name, value in asked.items())
        strange = sorted({name for name in runs["variant"] if name and name not in variants})
        hint = f", or give the experiment's file, which declares {', '.join(strange)}" if strange else ""
        raise AnalysisError(
            f"no finished run{f' with {wanted}' if asked else ''} to compare; train a variant first{hint}"
        )
    newest = _sort_by_age(finished).iloc[-1]
    shared: dict[str, Any] = {name: SETTINGS[name].kind(newest[name]) for name in COMPARED}
    return SharedSettings(**shared, data_sha256=str(newest["data_sha256"]))


def select_runs(
    runs: pd.DataFrame,
    settings: SharedSettings = STUDY_SETTINGS,
    rule: str = "newest",
    variants: Variants = VARIANTS,
) -> Selection:
    """Choose the runs that belong in one table, by default those with the study's own settings and `variants`.

    Raises AnalysisError for an unknown rule and a run id that occurs twice.
    """
    if rule not in RULES:
        raise AnalysisError(f'"{rule}" is not a selection rule; choose one of {", ".join(RULES)}')
    if not runs["run_id"].is_unique:
        twice = runs.loc[runs["run_id"].duplicated(), "run_id"].iloc[0]
        raise AnalysisError(f"run {twice} occurs twice in the query's answer; ask for each run once")
    needed = ["run_id", "variant", "outcome", "status", "reason", "image_shape", "classes"]
    needed += [*settings.list_shared(), *METRICS.values(), *NETWORK]
    rows = runs[needed].itertuples(index=False, name=None)  # one by one: of many runs they would take much memory
    judged = [_explain_exclusion(dict(zip(needed, row, strict=True)), settings, variants) for row in rows]
    reasons = pd.Series(judged, runs.index, dtype=str)
    chosen = _choose(runs[reasons == ""], rule, variants)
    superseded = f"rule {rule} took another run of its {' and '.join(_keys(rule))}"
    left_out = runs[["run_id", "variant", "seed"]].assign(reason=reasons.replace("", superseded))
    left_out = left_out[~left_out["run_id"].isin(chosen["run_id"])].reset_index(drop=True)
    return Selection(rule=rule, settings=settings, chosen=chosen, left_out=left_out)


def _explain_exclusion(run: Mapping[Any, Any], asked: SharedSettings, variants: Variants) -> str:
    """Why a run cannot be chosen at all; empty if it can."""
    if run["variant"] not in variants:
        return "no variant of the study"
    if run["outcome"] != "finished":
        ended = str(run["outcome"] or f"not finished (MLflow status {run['status']})")
        state = "stopped" if ended == "killed" else ended
        return f"{state}: {run['reason']}" if run["reason"] else state
    if differences := asked.describe_differences(run):
        return differences
    if run["variant"] not in VARIANTS and (others := _compare_network(run, variants[run["variant"]])):
        return f"another network of that name: {others}"
    missing = [metric for metric in METRICS.values() if not math.isfinite(run[metric])]
    return f"no finite {', '.join(missing)}" if missing else ""


def _compare_network(run: Mapping[Any, Any], row: Variant) -> str:
    """In what a run's network differs from the row that a user's file has under its name; empty if in nothing seen."""
    declared = {name: getattr(row, name) for name in NETWORK if name != "parameters"}
    declared["parameters"] = count_parameters(row, read_images(run))[0]
    return ", ".join(f"{name} {run[name]}, now {value}" for name, value in declared.items() if run[name] != value)


def read_images(run: Mapping[Any, Any]) -> Images:
    """What the images of a run were, without the classes' names; a run that does not say so had MNIST's form."""
    try:
        return restore_images({SHAPE: run.get("image_shape"), CLASSES: run.get("classes")})
    except ValueError as error:
        raise AnalysisError(f"run {run['run_id']}: {error}; train it again") from error


def find_images(runs: pd.DataFrame) -> Images:
    """What the images of comparable runs were: those of their first."""
    return MNIST if runs.empty else read_images(runs.iloc[0].to_dict())


def _choose(usable: pd.DataFrame, rule: str, variants: Variants) -> pd.DataFrame:
    """One row a variant (or a variant and seed) by the rule; equals are settled by age, then by run id."""
    ordered = _sort_by_age(usable)
    if rule == "best":
        ordered = ordered.sort_values(metrics.TEST_ACCURACY.final, kind="stable")
    chosen = ordered.drop_duplicates(_keys(rule), keep="last")
    places = {name: place for place, name in enumerate(variants)}
    return chosen.sort_values(
        ["variant", "seed"], key=lambda each: each.map(places) if each.name == "variant" else each, ignore_index=True
    )


def _keys(rule: str) -> list[str]:
    """The columns of which the rule takes one run each."""
    return ["variant", "seed"] if rule == "all-seeds" else ["variant"]


def _sort_by_age(runs: pd.DataFrame) -> pd.DataFrame:
    """Oldest first, by the end of a run (its start where no end was recorded)."""
    moments = runs["ended"].fillna(runs["started"])
    dated = runs.assign(moment=moments).sort_values(["moment", "run_id"], na_position="first", kind="stable")
    return dated.drop(columns="moment")


def _shorten(name: str, value: int | str) -> int | str:
    """A hash by its first twelve digits, anything else as it is."""
    return str(value)[:12] if name == "data_sha256" else value
