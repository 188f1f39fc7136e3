"""Runs that make a verdict doubtful: networks that did not train, runs that collapsed, numbers that are not finite.

A run has collapsed where its test accuracy is at most twice that of chance (of few classes: a ninth of the way from
there to all right), or below half of the median over all the runs compared. A network of which at least half of the
runs did so did not train: its twin is then judged with and without; else the seeds of the collapsed runs are. A cell
that ended without finite numbers is missing, and not at random: whatever is SUPPORTED without it stays open.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from pipeline.analysis.claims.contrasts import Blocks
from pipeline.analysis.claims.design import Records
from pipeline.analysis.table.selection import find_images
from pipeline.study import metrics

NAMED = 4  # cells named in a sentence


@dataclass(frozen=True, kw_only=True)
class Troubles:
    """What was found among the runs of one claim: sentences for each kind, and what to leave out to judge without."""

    said: tuple[str, ...] = ()
    seeds: frozenset[int] = frozenset()
    twins: frozenset[str] = frozenset()
    not_finite: bool = False

    @property
    def removable(self) -> bool:
        """Whether there is something to judge without."""
        return bool(self.seeds or self.twins)


def find_collapsed(runs: pd.DataFrame) -> set[str]:
    """The ids of the runs that collapsed."""
    accuracy = runs[metrics.TEST_ACCURACY.final].astype(float)
    chance = 1 / len(find_images(runs).classes)
    floor = max(min(2 * chance, chance + (1 - chance) / 9), accuracy.median() / 2)
    return set(runs.loc[accuracy < floor, "run_id"])


def find_troubles(blocks: Blocks, records: Records, looked_at: Collection[int]) -> Troubles:
    """The troubles among the runs that a claim needs, of the seeds `looked_at`."""
    collapsed, said = find_collapsed(records.runs), []
    accuracy = records.runs.set_index("run_id")[metrics.TEST_ACCURACY.final]
    seeds: set[int] = set()
    untrained: set[str] = set()
    for column, pair in enumerate(blocks.twins):
        for place, row in enumerate(pair):
            ids = zip(blocks.seeds, blocks.ids[:, column, place], strict=True)
            own = {seed: run_id for seed, run_id in ids if blocks.arms[place] and run_id in collapsed}
            if not own:
                continue
            mean = f"test accuracy {100 * accuracy[list(own.values())].mean():.1f} %"
            if len(own) >= len(blocks.seeds) / 2:
                untrained.add(pair[0].name)
                said.append(f"{row.name} did not train in {len(own)} of {len(blocks.seeds)} seeds ({mean})")
            else:
                seeds.update(own)
                said.append(f"{row.name} collapsed with seed {_list(list(own))} ({mean})")
    broken = [f"{variant} seed {seed}" for variant, seed in blocks.broken if seed in looked_at]
    if broken and blocks.seeds:
        said.append(f"the numbers of {_list(broken)} are missing or not finite, which is not by chance")
    return Troubles(said=tuple(said), seeds=frozenset(seeds), twins=frozenset(untrained), not_finite=bool(broken))


def _list(names: list[str] | list[int]) -> str:
    """The first names, and how many there are more."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(str, names[:NAMED])) + more
