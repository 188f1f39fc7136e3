"""What a run left beside its numbers: where its code, settings and figures came from. The tracking room fills it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.study.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where one run comes from; what was not recorded, or cannot be read any more, is empty.

    `environment` is the run's environment.json; `dirty` says whether its checkout had changes; `seconds` from its start
    to its end by the store's clock, pauses of a resumed run included; `weights` the violins of its kernels, a PNG file.
    """

    run_id: str
    variant: str
    settings: Settings
    data_name: str = ""
    commit: str = ""
    dirty: bool | None = None
    repository: str = ""
    attempts: int = 1
    seconds: float | None = None
    environment: Mapping[str, object] = field(default_factory=dict)
    weights: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where all runs of a comparison come from, in its order.

    `experiment` is the name of the MLflow experiment, `again` the EXPERIMENT that was asked for, `frozen_at` when the
    claims were frozen (ISO 8601, UTC; "" if they never were), `link` the pattern of a run's address (`{run_id}`), ""
    where no server's address is known.
    """

    experiment: str
    runs: tuple[Provenance, ...]
    again: str = ""
    description: str = ""
    frozen_at: str = ""
    link: str = ""
