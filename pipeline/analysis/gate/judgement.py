"""How strict a gate is, and what it says of one run or of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.analysis.gate.metrics import GATED
from pipeline.errors import AnalysisError

Result = Literal["pass", "fail", "not judged"]


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
    expected: str | tuple[float, float] | None = None
    value: str | float | None = None
    result: Result = "not judged"
    detail: str


@dataclass(frozen=True, kw_only=True)
class Demands:
    """How strict a gate is.

    `confidence` holds for all bounds together (Bonferroni). Where no spread is stored, or the bounds are too wide,
    `tolerances` (metric -> half-width in its unit) takes their place. With `allow_missing`, what has no finished new
    run is not judged.
    """

    confidence: float = 0.95
    tolerances: Mapping[str, float] = field(default_factory=dict)
    allow_missing: bool = False

    def __post_init__(self) -> None:
        for metric in self.tolerances:
            if metric not in GATED:
                raise AnalysisError(f'a tolerance for "{metric}" gates nothing; choose one of {", ".join(GATED)}')


USUAL = Demands()


def describe(run: Mapping[Any, Any], metric: str, detail: str) -> Judgement:
    """A judgement of this run that is not made (yet)."""
    return Judgement(variant=run["variant"], seed=run["seed"], run_id=run["run_id"], metric=metric, detail=detail)
