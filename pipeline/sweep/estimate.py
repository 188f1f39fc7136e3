"""How long the cells that are left will take, from the runs that this machine has finished."""

from __future__ import annotations

import functools
import itertools
import math
import multiprocessing
import socket
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import pandas as pd

from pipeline.analysis.table.selection import read_images
from pipeline.errors import ExperimentError
from pipeline.images import MNIST, MNIST_TRAIN, Images
from pipeline.plain import count, format_duration
from pipeline.study import metrics
from pipeline.study.layers import plan_layers
from pipeline.study.settings import Settings
from pipeline.study.variants import VARIANTS, Variant
from pipeline.sweep.cells import Cell

STARTUP_SECONDS = 12.0  # start, figures and model of one cell, as seen on two quiet cores, until a run has finished
LEAST_WORK = 0.1  # of an epoch of the smallest cell: runs with less do not tell how long it takes
EVALUATION_SHARE = 1.15
"""A whole epoch in terms of its batches, evaluation included, until one has been seen."""


class Estimate(NamedTuple):
    """Seconds of one process: the median, and the 10th to 90th percentile of what was seen."""

    low: float
    middle: float
    high: float


def count_cores() -> int:
    """The cores that this process may use, limits of its container included."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


@functools.cache
def count_work(variant: Variant, number: int, images: Images = MNIST) -> float:
    """Multiply-adds of one epoch on so many images, forwards and backwards: three times the forward pass."""
    work, shape = 0.0, images.shape
    for layer in plan_layers(variant, images):
        if layer.kind == "conv":
            work += math.prod(layer.shape) * variant.kernel**2 * shape[-1]
        elif layer.kind in ("dense", "output"):
            work += layer.units * shape[-1]
        shape = layer.shape  # type: ignore[assignment]
    return 3 * work * number


def count_cell_work(cell: Cell) -> float:
    """Multiply-adds of the epochs that a cell has left."""
    epochs = cell.settings.epochs - cell.last_epoch
    return epochs * count_work(cell.variant, cell.train_images, cell.images)


def order_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Whole seeds first, each seed's longest cells first, so that no worker idles while the last one is trained."""
    seeds = {seed: place for place, seed in enumerate(dict.fromkeys(cell.settings.seed for cell in cells))}
    return sorted(cells, key=lambda cell: (seeds[cell.settings.seed], -count_cell_work(cell)))


def estimate_cells(cells: Sequence[Cell], runs: pd.DataFrame) -> Estimate | None:
    """Seconds for the cells that are not done, one after the other; None where this machine has finished no run."""
    measured = _measure(cells, runs)
    return None if measured is None else _estimate_by(*measured, cells)


def probe_cells(cells: Sequence[Cell]) -> tuple[Estimate, str]:
    """The same from some seconds of the network that has most of the work left, and its name.

    They are trained in a process of its own, whose threads are the cell's. What one network tells of another is rough:
    a factor of 1.5 either way. Raises ExperimentError where that process is killed.
    """
    longest = max((cell for cell in cells if cell.state != "finished"), key=count_cell_work)
    rate = time_in_process(longest) * EVALUATION_SHARE / count_work(longest.variant, 1, longest.images)
    return _estimate_by(Estimate(rate / 1.5, rate, rate * 1.5), STARTUP_SECONDS, cells), longest.variant.name


def time_in_process(cell: Cell) -> float:
    """Seconds that a training of the cell takes for one image, tried in a process of its own."""
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(_time_image, cell).result()
    except BrokenProcessPool as error:
        raise ExperimentError(
            f"the time left is unknown: the process that tried some steps of {cell.variant.name} was killed"
        ) from error


def _time_image(cell: Cell) -> float:
    from pipeline.training.probe import time_image

    return time_image(cell.variant, cell.settings, cell.images)


def _estimate_by(rates: Estimate, rest: float, cells: Sequence[Cell]) -> Estimate:
    """Seconds for the cells that are not done, by those for a multiply-add and those a cell takes beside its epochs."""
    left = [cell for cell in cells if cell.state != "finished"]
    total = sum(map(count_cell_work, left))
    return Estimate(*(rate * total + rest * len(left) for rate in rates))


def estimate_epoch(variant: Variant, settings: Settings, runs: pd.DataFrame) -> float | None:
    """Seconds for an epoch of one training; None where this machine has finished no run."""
    cell = Cell(variant=variant, settings=settings, fingerprint="", train_images=settings.subset or MNIST_TRAIN)
    measured = _measure([cell], runs)
    return None if measured is None else measured[0].middle * count_cell_work(cell) / settings.epochs


def _measure(cells: Sequence[Cell], runs: pd.DataFrame) -> tuple[Estimate, float] | None:
    """Seconds for a multiply-add, and those that a run takes beside its epochs (start, figures, model; the median).

    None where this machine has finished no run that tells: of much less work an epoch is mostly overhead.
    """
    variants = {**VARIANTS, **{cell.variant.name: cell.variant for cell in cells}}
    own = runs[(runs["outcome"] == "finished") & (runs["host"] == socket.gethostname())]
    seen = own[own["variant"].isin(list(variants))]
    if seen.empty:
        return None
    known = seen["train_images"].where(seen["train_images"] > 0)  # runs of earlier versions do not say it
    numbers = known.fillna(seen["subset"].where(seen["subset"] > 0, MNIST_TRAIN))
    records = zip(seen.to_dict("records"), numbers, strict=True)
    work = pd.Series(
        [count_work(variants[run["variant"]], int(number), read_images(run)) for run, number in records], seen.index
    )
    least = min((count_work(cell.variant, cell.train_images, cell.images) for cell in cells), default=0)
    like = work >= LEAST_WORK * least
    if not like.any():
        return None
    rates = Estimate(*(seen[metrics.EPOCH_SECONDS.final] / work)[like].quantile([0.1, 0.5, 0.9]))
    rest = (own["seconds"] - own["epochs"] * own[metrics.EPOCH_SECONDS.final]).dropna()
    return rates, float(rest.clip(lower=0).median()) if len(rest) else STARTUP_SECONDS


def take_within(cells: Sequence[Cell], runs: pd.DataFrame, seconds: float) -> list[Cell]:
    """The first cells that will fit, by the cautious estimate, into so many seconds of one process.

    Raises ExperimentError where nothing is known of this machine yet.
    """
    measured = _measure(cells, runs)
    if measured is None:
        raise ExperimentError("a budget needs a training like these that has finished on this machine; train one cell")
    rates, rest = measured
    needed = itertools.accumulate(rates.high * count_cell_work(cell) + rest for cell in cells)
    return [cell for cell, sum_so_far in zip(cells, needed, strict=True) if sum_so_far <= seconds]


def say_estimate(estimate: Estimate, workers: int) -> str:
    """The time that so many workers take: about 3.4 h (2.9 h to 4.1 h) with 2 workers."""
    low, middle, high = (format_duration(each / workers) for each in estimate)
    between = f" ({low} to {high})" if low != high else ""
    return f"about {middle}{between} with {count(workers, 'worker')}"
