"""What judging a claim takes: what the experiment declares around its claims, what was measured, and which look it is.

Looks are the numbers of seeds at which the claims are judged. Alpha is spent in proportion to the seeds: look k tests
at alpha * (n_k - n_{k-1}) / n_K, with n_0 = 0. By Bonferroni that is at most alpha over all looks, whatever the test
and however few the seeds, and within Holm's families too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

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


NO_HISTORY = pd.DataFrame(columns=["run_id", "metric", "epoch", "value"])


@dataclass(frozen=True, kw_only=True, eq=False)
class Records:
    """What was measured: comparable finished `runs`, one a variant and seed, and their curves (run_id, metric, ...).

    `predicted` has what a run said to each test image, by run id, where that was read. `broken` are cells (variant,
    seed) of the same settings of which a run ended because a number was not finite.
    """

    runs: pd.DataFrame
    history: pd.DataFrame
    predicted: Mapping[str, Predicted] = field(default_factory=dict)
    broken: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Look:
    """The look that a verdict is of: `number` of `total` (0 of 0: none was declared), its seeds, its share of alpha.

    `waiting` complete seeds are there and not used, as they belong to the next look. `first` is the first look's number
    of seeds; `number` 0 where that is not reached.
    """

    number: int = 0
    total: int = 0
    seeds: tuple[int, ...] = ()
    share: float = 1.0
    first: int = 0
    last: int = 0
    waiting: int = 0


NO_LOOKS = Look()


def find_look(complete: Sequence[int], ended: Collection[int], declared: Sequence[int], looks: Sequence[int]) -> Look:
    """The latest look reached: all of its first seeds, in their `declared` order, are among `ended`.

    `complete` are the seeds that can be judged; `ended` has those too that ended without finite numbers, which would
    else hold up every look. Before the first look all complete seeds are taken, for no verdict.
    """
    if not looks:
        return Look(seeds=tuple(complete))
    number = sum(set(declared[:count]) <= set(ended) for count in looks)  # each look has the seeds of those before it
    look = Look(number=number, total=len(looks), seeds=tuple(complete), first=looks[0], last=looks[-1])
    if not number:
        return look
    before, count = (0, *looks)[number - 1 : number + 1]
    used = tuple(seed for seed in complete if seed in declared[:count])
    return replace(look, seeds=used, share=(count - before) / looks[-1], waiting=len(complete) - len(used))
