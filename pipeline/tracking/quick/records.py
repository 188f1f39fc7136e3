"""An experiment and a run as the store has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.study.tags import KIND, OUTCOME

NEVER = datetime.fromtimestamp(0, UTC)
STATES = ("finished", "running", "killed", "failed")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run as the store has it; `status` is MLflow's, `state` (one of STATES) what its process said last."""

    run_id: str
    experiment_id: str
    status: str
    started: datetime
    deleted: bool
    artifact_uri: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]

    @property
    def state(self) -> str:
        """The tag `outcome`; `mlflow run` overwrites the status, which serves where there is no tag."""
        return self.tags.get(OUTCOME) or self.status.lower()

    @property
    def is_training(self) -> bool:
        """Whether a training wrote it."""
        return self.tags.get(KIND) == "train"


@dataclass(frozen=True, kw_only=True)
class ExperimentRecord:
    """One MLflow experiment."""

    experiment_id: str
    name: str
    tags: Mapping[str, str]
    artifact_uri: str
