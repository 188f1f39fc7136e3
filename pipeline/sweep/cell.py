"""One cell of a sweep, in its own process."""

from __future__ import annotations

import os

from pipeline.errors import CellTaken
from pipeline.sweep.cells import Cell
from pipeline.sweep.sweep import Sweep
from pipeline.tracking.process import hold_lease
from pipeline.tracking.write.resume import locate_checkpoints
from pipeline.workflows.train import Resumable, RunProgress, resume_training, train_variant


def train_cell(sweep: Sweep, variant: str, progress: RunProgress) -> Cell:
    """Train a variant's first cell unless it is done, or go on with it; the cell as it was found.

    Safe to start twice, even at once: raises CellTaken where another process trains it.
    """
    with hold_lease(sweep.store, sweep.experiment_id, sweep.choose_cell(variant).fingerprint):
        cell = sweep.choose_cell(variant, sweep.read_runs())
        if cell.state == "running":
            raise CellTaken(f"{cell.name} is trained by run {cell.run_id} at this moment; let it end")
        os.environ["MLFLOW_EXPERIMENT_ID"] = sweep.experiment_id
        if cell.state == "started" and any(locate_checkpoints(sweep.store, cell.run_id).glob("epoch-*")):
            interrupted = Resumable(run_id=cell.run_id, variant=cell.variant, settings=cell.settings)
            resume_training(interrupted, progress, sweep.dataset)
        elif cell.state != "done":
            train_variant(cell.variant, cell.settings, progress, sweep.dataset)
    return cell
