"""Where the runs of a comparison come from, and what they ran on."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.study.facts import Provenance


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
