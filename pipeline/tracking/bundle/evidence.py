"""Evidence: what a verdict can be computed from again, without models and figures, and without a word on the machine.

A run in it keeps its params, its metrics with steps and times, these tags and these files. An imported one says that it
is evidence only: it counts as finished, and whoever needs its model has to train it again.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.study import tags as names
from pipeline.tracking.frozen import FROZEN, FROZEN_AT

TAGS = (
    *(names.KIND, names.VARIANT, names.TWIN, names.OUTCOME, names.REASON, names.ATTEMPT, names.EPOCH),
    *(names.FINGERPRINT, names.WEIGHTS_SHA256, names.DATA_SHA256, names.GIT_DIRTY, names.COMMIT, names.RUN_NAME),
)
EXPERIMENT_TAGS = (FROZEN, FROZEN_AT)
ELSEWHERE = "elsewhere"
"""Stands for the machine: how long a run took there says nothing about another one."""


def pick_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a run that belong to its evidence."""
    return {name: tags[name] for name in TAGS if name in tags} | {names.HOST: ELSEWHERE, names.EVIDENCE: "only"}
