"""What judging a claim takes: what the experiment declares around its claims, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from pipeline.study.claims import Standing
from pipeline.study.predicted import Predicted
from pipeline.study.variants import VARIANTS, Variants


@dataclass(frozen=True, kw_only=True)
class Design:
    """What an experiment declares around its claims.

    `variants` and `seeds` (in their declared order) are its cells, None for whatever runs there are; a twin that never
    finished then counts as missing, instead of being overlooked. `looks` are numbers of seeds (none: at all of them),
    `table` says which variants are twins. `frozen` is study.experiment.hash_plan() as it was when the first run started
    (None: nothing was frozen), `planned` as it is now, `standing` whether that was in time.
    """

    variants: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    looks: tuple[int, ...] = ()
    table: Variants = field(default_factory=lambda: VARIANTS)
    frozen: Mapping[str, str] | None = None
    planned: Mapping[str, str] = field(default_factory=dict)
    standing: Standing = ""


NO_BROKEN = pd.DataFrame(
    {"run_id": pd.Series(dtype=str), "variant": pd.Series(dtype=str), "seed": pd.Series(dtype=int)}
)


NO_HISTORY = pd.DataFrame(columns=["run_id", "metric", "epoch", "value"])


@dataclass(frozen=True, kw_only=True, eq=False)
class Records:
    """What was measured: comparable finished `runs`, one a variant and seed, and their curves (run_id, metric, ...).

    `predicted` has what a run said to each test image, by run id, where that was read. `broken` are runs (run_id,
    variant, seed) of the same settings that ended because a number was not finite.
    """

    runs: pd.DataFrame
    history: pd.DataFrame
    predicted: Mapping[str, Predicted] = field(default_factory=dict)
    broken: pd.DataFrame = field(default_factory=lambda: NO_BROKEN)
