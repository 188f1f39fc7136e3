"""From runs to one value a seed: matched twins paired by seed, and what a claim asks contrasted within each seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.analysis.onset import find_onsets
from pipeline.analysis.statistics import Array
from pipeline.errors import AnalysisError
from pipeline.study.claims import CONFIRMING_EPOCHS, Claim
from pipeline.study.variants import VARIANTS, Variant, Variants, matched_twins

ARMS: Mapping[str, tuple[int, int]] = {"regularised - plain": (-1, 1), "plain": (1, 0), "regularised": (0, 1)}
"""Weights of the plain and the regularised arm in each contrast."""


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Matched twins over the seeds that have all of them.

    `plain` and `regularised` have shape (seeds, twins), in the order of `seeds` and `twins`. `left_out` says of each
    incomplete seed what it lacks; `run_ids` are those of the complete seeds.
    """

    seeds: tuple[int, ...]
    twins: tuple[tuple[Variant, Variant], ...]
    plain: Array
    regularised: Array
    left_out: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the runs say to one claim: a value a seed, its least possible SD, how many twins point the claim's way."""

    blocks: Blocks
    per_seed: Array
    least_sd: float
    agree: int
    missing: str = ""


def measure_runs(runs: pd.DataFrame, history: pd.DataFrame, claim: Claim) -> pd.Series[float]:
    """The claim's estimand of each run, indexed like `runs`; nan where a run lacks it.

    An onset is 1 where it lies within the claim's epochs and else 0; it needs CONFIRMING_EPOCHS epochs after the
    window.
    """
    if claim.epochs is None:
        columns = {
            "gap": "final/gap_honest",
            "test_loss": "final/honest_test_loss",
            "test_error": "final/test_accuracy",
        }
        finals = runs[columns[claim.estimand]].astype(float)
        return 1 - finals if claim.estimand == "test_error" else finals
    onsets = find_onsets(history[history["run_id"].isin(runs["run_id"])], claim.smallest_rise)
    onsets = onsets[onsets["epochs"] >= claim.epochs[1] + CONFIRMING_EPOCHS]
    inside = onsets["onset"].between(*claim.epochs).astype(float)
    return runs["run_id"].map(inside)


def pair_twins(
    runs: pd.DataFrame, values: pd.Series[float], variants: Iterable[str] | None = None, table: Variants = VARIANTS
) -> Blocks:
    """Pair matched twins by the key of their seed, whatever the order of rows, and keep the complete seeds.

    The twins asked for are those of `table` with both variants among `variants` (where None: among those of `runs`).
    Raises AnalysisError if a variant has a seed twice.
    """
    cells: dict[tuple[int, str], tuple[float, str]] = {}
    for seed, variant, value, run_id in zip(runs["seed"], runs["variant"], values, runs["run_id"], strict=True):
        if (seed, variant) in cells:
            raise AnalysisError(f"{variant} has more than one run with seed {seed}; choose one run for each seed")
        cells[int(seed), str(variant)] = float(value), str(run_id)
    names = set(runs["variant"] if variants is None else variants)
    twins = tuple(pair for pair in matched_twins(table) if {row.name for row in pair} <= names)
    columns = [row.name for pair in twins for row in pair]
    lacks = {
        seed: [name for name in columns if not np.isfinite(cells.get((seed, name), (np.nan, ""))[0])]
        for seed in sorted({seed for seed, _ in cells})
    }
    seeds = tuple(seed for seed, absent in lacks.items() if columns and not absent)
    grid = np.array([[cells[seed, name][0] for name in columns] for seed in seeds]).reshape(len(seeds), len(columns))
    return Blocks(
        seeds=seeds,
        twins=twins,
        plain=grid[:, 0::2],
        regularised=grid[:, 1::2],
        left_out=tuple(f"seed {seed} (lacks {', '.join(absent)})" for seed, absent in lacks.items() if absent),
        run_ids=tuple(cells[seed, name][1] for seed in seeds for name in columns),
    )


def gather_evidence(claim: Claim, blocks: Blocks) -> Evidence:
    """Contrast `blocks` as the claim asks: mean over twins, or the slope over the twins' depth or kernel.

    A twin agrees where its own mean over seeds lies on the claim's side of what the claim is held against; for a slope,
    where it lifts the slope to the claim's side. Shares of runs (onset) get a least SD: that of a binomial share at the
    rule of succession, (k + 1) / (n + 2), since equal shares in few seeds do not mean that there is no spread.
    """
    plain, regularised = ARMS[claim.contrast]
    effects = plain * blocks.plain + regularised * blocks.regularised
    if not effects.size:
        return Evidence(
            blocks=blocks, per_seed=np.empty(0), least_sd=0.0, agree=0, missing=_explain_lack(claim, blocks)
        )
    factor = np.array([getattr(row, "kernel" if claim.by == "kernel" else "depth_counted") for row, _ in blocks.twins])
    centred = factor - factor.mean()
    if claim.by and not centred.any():
        lack = f"all twins have the same {claim.by}"
        return Evidence(blocks=blocks, per_seed=np.empty(0), least_sd=0.0, agree=0, missing=lack)
    weights = centred / (centred**2).sum() if claim.by else np.full(len(factor), 1 / len(factor))
    shift = effects.mean() if claim.by else find_null(claim)
    pulls = (effects.mean(axis=0) - shift) * weights * find_sign(claim)
    arms = ((plain, blocks.plain), (regularised, blocks.regularised))
    variance = sum(weight**2 * _bound_share(values) for weight, values in arms) if claim.estimand == "onset" else 0.0
    return Evidence(
        blocks=blocks,
        per_seed=effects @ weights,
        least_sd=float(np.sqrt(variance * (weights**2).sum())),
        agree=int((pulls > 0).sum()),
    )


def find_sign(claim: Claim) -> int:
    """1 where larger values speak for the claim, -1 where smaller ones do."""
    return 1 if claim.direction == "higher" else -1


def find_null(claim: Claim) -> float:
    """The value that the claim's interval is held against: its margin, its reference, or 0."""
    return claim.smallest_effect if claim.direction == "not_higher" else claim.reference


def _bound_share(events: Array) -> float:
    share = (events.sum() + 1) / (events.size + 2)
    return float(share * (1 - share))


def _explain_lack(claim: Claim, blocks: Blocks) -> str:
    if not blocks.twins:
        return "the experiment has no matched twins"
    if claim.epochs:
        return f"no seed has every twin trained for {claim.epochs[1] + CONFIRMING_EPOCHS} epochs or more"
    return "no seed has every twin"
