"""The cells of an experiment, each with the fingerprint of all that can change its result, and what is done of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import pandas as pd

from pipeline.images import MNIST, MNIST_TRAIN, Images
from pipeline.study.experiment import Experiment
from pipeline.study.facts import restore_row
from pipeline.study.settings import RULES, Settings
from pipeline.study.variants import Variant, find_variant
from pipeline.training.fingerprint import fingerprint_training

State = Literal["finished", "running", "stopped", "to do"]
STATES: tuple[State, ...] = get_args(State)
NOTHING: tuple[State, str, int] = "to do", "", 0


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One variant with one seed in one experiment; `run_id` is its run, where it has one that can serve.

    `last_epoch` is the last one that this run has finished, `train_images` the number that it is trained on.
    """

    variant: Variant
    settings: Settings
    fingerprint: str
    state: State = "to do"
    run_id: str = ""
    last_epoch: int = 0
    train_images: int = MNIST_TRAIN
    images: Images = MNIST

    @property
    def name(self) -> str:
        """What the cell's run is called."""
        return f"{self.variant.name}-s{self.settings.seed}"


def plan_cells(
    experiment: Experiment,
    data_sha256: str,
    runs: pd.DataFrame,
    images: Images = MNIST,
    train_images: int = MNIST_TRAIN,
) -> list[Cell]:
    """Every cell of the experiment, whole seeds first, with what `runs` (tracking.runs.read_runs) holds of it.

    A cell is finished if a run of its fingerprint is, running if the newest such run is alive, and stopped if that was
    killed or died.
    """
    judged = _judge_runs(runs)
    cells = []
    for seed in experiment.seeds:
        for name in experiment.variants:
            variant, settings = find_variant(name, experiment.table), replace(experiment.settings, seed=seed)
            fingerprint = fingerprint_training(variant, settings, data_sha256)
            state, run_id, last = judged.get(fingerprint, NOTHING)
            known = Cell(variant=variant, settings=settings, fingerprint=fingerprint, images=images)
            found = replace(known, state=state, run_id=run_id, last_epoch=min(last, settings.epochs))
            cells.append(replace(found, train_images=settings.subset or train_images))
    return cells


def _judge_runs(runs: pd.DataFrame) -> dict[str, tuple[State, str, int]]:
    """By fingerprint a cell's state, the run that counts and its last epoch; one pass, oldest run first."""
    judged: dict[str, tuple[State, str, int]] = {}
    ordered = runs.sort_values("started", kind="stable")
    columns = (ordered[name] for name in ("fingerprint", "outcome", "alive", "run_id", "last_epoch"))
    for fingerprint, outcome, alive, run_id, last in zip(*columns, strict=True):
        if outcome == "finished":
            judged[fingerprint] = "finished", run_id, last
        elif judged.get(fingerprint, NOTHING)[0] != "finished":
            judged[fingerprint] = "running" if alive else "stopped", run_id, max(last, 0)
    return judged


def find_earlier(
    cells: Sequence[Cell], data_sha256: str, runs: pd.DataFrame, rows: Callable[[], Mapping[str, Mapping[str, Any]]]
) -> dict[str, str]:
    """The finished runs that an earlier version of the training made of cells that are not done, by fingerprint.

    `rows` (tracking.runs.read_trained_rows) is asked only where a run may be one.
    """
    open_cells = {cell.fingerprint: cell for cell in cells if cell.state != "finished"}
    names = {cell.variant.name for cell in open_cells.values()}
    candidates = runs[
        (runs["outcome"] == "finished")
        & ~runs["fingerprint"].isin({cell.fingerprint for cell in cells})
        & runs["variant"].isin(names)
        & (runs["data_sha256"] == data_sha256)
    ]
    trained = rows() if len(candidates) else {}
    found: dict[str, str] = {}
    for run in candidates.sort_values("started", kind="stable").to_dict("records"):
        settings = Settings(**{name: run[name] for name in RULES if name != "data"})
        try:
            fingerprint = fingerprint_training(restore_row(trained[run["run_id"]]), settings, data_sha256)
        except (KeyError, ValueError):  # it does not say what it has trained
            continue
        if fingerprint in open_cells:
            found[fingerprint] = run["run_id"]
    return found


def keep_earlier(cells: Sequence[Cell], earlier: Mapping[str, str]) -> list[Cell]:
    """The cells, those done that an earlier version of the training has trained (find_earlier)."""
    return [
        replace(cell, state="finished", run_id=earlier[cell.fingerprint]) if cell.fingerprint in earlier else cell
        for cell in cells
    ]


def count_states(cells: Sequence[Cell]) -> Mapping[str, int]:
    """How many cells are in each state."""
    return {state: sum(cell.state == state for cell in cells) for state in STATES}
