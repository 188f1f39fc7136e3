"""From runs to one value a seed: what a claim is about is measured in each run, paired over twins and contrasted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.analysis.claims.design import Design, Records
from pipeline.analysis.onset import find_onsets
from pipeline.analysis.statistics import Array
from pipeline.errors import AnalysisError
from pipeline.study import metrics
from pipeline.study.claims import Claim
from pipeline.study.variants import Variant, matched_twins

Twins = tuple[tuple[Variant, Variant], ...]

ARMS: Mapping[str, tuple[int, int]] = {"regularised - plain": (-1, 1), "plain": (1, 0), "regularised": (0, 1)}
"""Weights of the plain and the regularised arm in each contrast."""
FEWEST_STEPS = 3
"""Different depths or kernels below which a slope says nothing that the networks' own differences do not explain."""
TEST_IMAGES = 10_000
IMAGES_PER_TRAINING_IMAGE = 1 / 6  # of a subset
FINALS = {
    "gap": metrics.GAP_HONEST.final,
    "test_loss": metrics.HONEST_TEST_LOSS.final,
    "test_error": metrics.TEST_ACCURACY.final,
}
CURVES = {
    "gap": (metrics.HONEST_TEST_LOSS, metrics.HONEST_TRAIN_LOSS),
    "test_loss": (metrics.HONEST_TEST_LOSS,),
    "test_error": (metrics.TEST_ACCURACY,),
}
"""What an estimand is by epoch: the first metric, less the second where there is one; an error is 1 - accuracy."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Blocks:
    """Matched twins over the seeds that have all that the claim needs of them.

    `values` has shape (seeds, twins, 2), plain first, in the order of `seeds` and `twins`, nan where an arm that the
    claim does not need is missing; `ids` has the runs, "" where there is none. `left_out` says what each incomplete
    seed lacks; `broken` are cells (variant, seed) whose numbers are not finite.
    """

    seeds: tuple[int, ...]
    twins: Twins
    arms: tuple[int, int]
    values: Array
    ids: npt.NDArray[np.object_]
    left_out: Mapping[int, str] = field(default_factory=dict)
    broken: tuple[tuple[str, int], ...] = ()

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs that the claim needs."""
        return tuple(map(str, self.ids[:, :, np.flatnonzero(self.arms)].ravel()))

    @property
    def effects(self) -> Array:
        """What the claim asks of each twin in each seed, shape (seeds, twins)."""
        plain, regularised = self.arms
        effects: Array = self.values[:, :, 1] if regularised else self.values[:, :, 0]
        return effects - self.values[:, :, 0] if plain < 0 else effects

    def restrict(self, seeds: Collection[int], twins: Collection[str] | None = None) -> Blocks:
        """Only these seeds, and only the twins of these plain variants."""
        rows = [place for place, seed in enumerate(self.seeds) if seed in seeds]
        columns = [place for place, (plain, _) in enumerate(self.twins) if twins is None or plain.name in twins]
        return replace(
            self,
            seeds=tuple(self.seeds[row] for row in rows),
            twins=tuple(self.twins[column] for column in columns),
            values=self.values[rows][:, columns],
            ids=self.ids[rows][:, columns],
        )


def measure_runs(records: Records, claim: Claim) -> pd.Series[float]:
    """The claim's estimand of each run, indexed like `records.runs`; nan where a run lacks it.

    After the last epoch the gap is that of all training images; by epoch it is read on the probe of 10,000 of them.
    An onset is 1 where it lies within the claim's epochs and else 0; it needs some epochs after the
    window. Raises AnalysisError if a run has an epoch twice.
    """
    runs = records.runs
    if claim.epochs is not None:
        onsets = find_onsets(records.history[records.history["run_id"].isin(runs["run_id"])], claim.smallest_rise)
        onsets = onsets[onsets["epochs"] >= claim.epochs_needed]
        return runs["run_id"].map(onsets["onset"].between(*claim.epochs).astype(float))
    last = claim.epochs_read == 1
    values = runs[FINALS[claim.estimand]].astype(float) if last else _average_last(records, claim)
    return 1 - values if claim.estimand == "test_error" else values


def _average_last(records: Records, claim: Claim) -> pd.Series[float]:
    """The mean over the last epochs of each run; nan where one of them is missing or not finite."""
    number, runs = claim.epochs_read, records.runs
    last = runs.set_index("run_id")["epochs"]
    means = []
    for metric in CURVES[claim.estimand]:
        curve = records.history[records.history["metric"] == metric]
        ends = curve["run_id"].map(last).astype(float)
        epochs = curve["epoch"].astype(float)
        recent = curve[epochs.gt(ends - number) & epochs.le(ends)]
        values = recent["value"].astype(float)
        known = recent.assign(value=values.where(np.isfinite(values))).groupby("run_id", observed=True)["value"]
        whole = known.mean().where(known.count() == number).reindex(runs["run_id"])
        means.append(pd.Series(whole.to_numpy(dtype=float), runs.index))
    return means[0] - means[1] if len(means) > 1 else means[0]


def pair_twins(records: Records, claim: Claim, design: Design) -> Blocks:
    """Pair matched twins by the key of their seed, whatever the order of rows, and keep the complete seeds.

    The twins are those of the design's table with both variants among its own (where None: among those of the runs).
    Raises AnalysisError if a variant has a seed twice, or a run an epoch twice.
    """
    runs, values = records.runs, measure_runs(records, claim)
    cells: dict[tuple[int, str], tuple[float, str]] = {}
    for seed, variant, value, run_id in zip(runs["seed"], runs["variant"], values, runs["run_id"], strict=True):
        if (seed, variant) in cells:
            raise AnalysisError(f"{variant} has more than one run with seed {seed}; choose one run for each seed")
        cells[int(seed), str(variant)] = float(value), str(run_id)
    twins = matched_twins(design.table, set(runs["variant"]) if design.variants is None else design.variants)
    arms = ARMS[claim.contrast]
    needed = [row.name for pair in twins for row, weight in zip(pair, arms, strict=True) if weight]
    broken = {cell for cell in records.broken if cell[0] in needed and cell[::-1] not in cells}
    lacks: dict[int, list[str]] = {}
    for seed in sorted({seed for seed, _ in cells} | {seed for _, seed in broken}):
        lacks[seed] = [f"no finished run of {name}" for name in needed if (seed, name) not in cells]
        unread = [name for name in needed if not np.isfinite(cells.get((seed, name), (0.0, ""))[0])]
        lacks[seed] += [f"{name} has no {_name_measure(claim)}" for name in unread]
        if not runs["epochs"].max() < claim.epochs_needed:
            broken |= {(name, seed) for name in unread}
    seeds = tuple(seed for seed, absent in lacks.items() if needed and not absent)
    empty = (float("nan"), "")
    rows = [cells.get((seed, row.name), empty) for seed in seeds for pair in twins for row in pair]
    grid = np.array(rows, dtype=object).reshape(len(seeds), len(twins), 2, 2)
    return Blocks(
        seeds=seeds,
        twins=twins,
        arms=arms,
        values=grid[..., 0].astype(float),
        ids=grid[..., 1],
        left_out={seed: f"seed {seed} ({', '.join(absent)})" for seed, absent in lacks.items() if absent},
        broken=tuple(sorted(broken)),
    )


def _name_measure(claim: Claim) -> str:
    if claim.epochs:
        return f"whole curve of {claim.epochs_needed} epochs or more"
    noun = claim.estimand.replace("_", " ")
    return f"finite {noun}" + (f" in each of the last {claim.epochs_read} epochs" if claim.epochs_read > 1 else "")


def explain_lack(claim: Claim, blocks: Blocks, records: Records) -> str:
    """Why no seed gives a value; empty if one does."""
    if blocks.effects.size:
        return explain_steps(claim, blocks.twins)
    if records.runs.empty:
        return "no run has finished, so there is nothing to judge"
    if not blocks.twins:
        return "the experiment has no matched twins"
    if records.runs["epochs"].max() < claim.epochs_needed:
        return f"no run was trained for the {claim.epochs_needed} epochs that the window needs"
    return "no seed has all the runs that the claim needs"


def explain_steps(claim: Claim, twins: Twins) -> str:
    """Why twins of too few depths or kernels carry no slope; empty if they do, or for a claim about no slope."""
    steps = sorted(set(list_factor(claim, twins).tolist()))
    if not claim.by or len(steps) >= FEWEST_STEPS:
        return ""
    have = " and ".join(f"{step:g}" for step in steps)
    return f"a slope needs twins of {FEWEST_STEPS} different {claim.by}s, and they have {have}"


def weigh_twins(claim: Claim, twins: Twins) -> Array:
    """The weights of twins in a seed's value: of their mean, or of the slope over their depth or kernel."""
    factor = list_factor(claim, twins)
    centred = factor - factor.mean()
    return centred / (centred**2).sum() if claim.by else np.full(len(factor), 1 / len(factor))


def list_factor(claim: Claim, twins: Twins) -> Array:
    """The depth of each twin, or its kernel where the claim is by kernel; shape (twins,)."""
    name = "kernel" if claim.by == "kernel" else "depth_counted"
    return np.array([getattr(row, name) for row, _ in twins], dtype=float)


def find_least_sd(claim: Claim, blocks: Blocks, records: Records, weights: Array) -> float:
    """The smallest SD over seeds that a claim's value can have.

    For a share of runs (onset) it is the SD of a binomial share by the rule of succession, (k + 1) / (n + 2), because
    equal shares in a few seeds do not prove a spread of zero; for a test error it is one image a run.
    """
    variance = 0.0
    if claim.estimand == "test_error":
        variance = sum(weight**2 for weight in blocks.arms) / count_test_images(records) ** 2
    elif claim.estimand == "onset":
        for place in np.flatnonzero(blocks.arms):
            events = blocks.values[:, :, place]
            share = (events.sum() + 1) / (events.size + 2)
            variance += float(share * (1 - share))
    return float(np.sqrt(variance * (weights**2).sum()))


def find_sign(claim: Claim) -> int:
    """1 where larger values speak for the claim, -1 where smaller ones do."""
    return 1 if claim.direction == "higher" else -1


def find_null(claim: Claim) -> float:
    """The value that the claim's interval is held against: its margin, its reference, or 0."""
    return claim.smallest_effect if claim.direction == "not_higher" else claim.reference


def count_test_images(records: Records) -> int:
    """How many images the runs were tested on: as predicted, else a sixth of a subset, else MNIST's 10,000."""
    for predicted in records.predicted.values():
        return len(predicted.label)
    subset = int(records.runs["subset"].max()) if len(records.runs) else 0
    return count_images(subset)


def count_images(subset: int) -> int:
    """How many test images belong to a subset of training images (0: all of MNIST)."""
    return round(subset * IMAGES_PER_TRAINING_IMAGE) if subset else TEST_IMAGES
