"""Studies with a planted truth: frames of runs and histories as the store's queries give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.analysis.claims import judge as claims
from pipeline.analysis.claims.design import Design, Records
from pipeline.study.claims import Claim
from pipeline.study.variants import VARIANTS, matched_twins

TWINS = matched_twins(VARIANTS, VARIANTS)
NAMES = tuple(row.name for pair in TWINS for row in pair)
EPOCHS = 25
NO_HISTORY = pd.DataFrame(
    {"run_id": pd.Series(dtype=str), "metric": pd.Series(dtype=str), "epoch": pd.Series(dtype=int), "value": []}
)


def plant_runs(seeds: int, values: Mapping[str, npt.ArrayLike], names: tuple[str, ...] = NAMES) -> pd.DataFrame:
    """Runs of `names` x `seeds`, seed by seed; a metric has shape (seeds, names) or one that spreads to it."""
    cells = [(VARIANTS[name], seed) for seed in range(seeds) for name in names]
    runs = pd.DataFrame(
        {
            "run_id": [f"{row.name}-{seed}" for row, seed in cells],
            "variant": [row.name for row, _ in cells],
            "seed": [seed for _, seed in cells],
            "regularised": [row.regularised for row, _ in cells],
            "epochs": EPOCHS,
            "subset": 0,
        }
    )
    for metric, value in {"final/test_accuracy": 0.99, **values}.items():
        runs[metric] = np.broadcast_to(np.asarray(value, dtype=float), (seeds, len(names))).ravel()
    return runs


def plant_gap(effects: npt.ArrayLike, names: tuple[str, ...] = NAMES) -> pd.DataFrame:
    """Runs whose gap is `effects` (seeds, twins) higher in the regularised variant, at some level of their own."""
    effects = np.asarray(effects, dtype=float)
    seeds, twins = effects.shape
    gaps = np.zeros((seeds, 2 * twins))
    gaps[:, 0::2] = 0.05 + 0.01 * np.arange(seeds)[:, None] + 0.002 * np.arange(twins)
    gaps[:, 1::2] = gaps[:, 0::2] + effects
    return plant_runs(seeds, {"final/gap_honest": gaps}, names[: 2 * twins])


def plant_history(runs: pd.DataFrame, losses: npt.NDArray[np.float64]) -> pd.DataFrame:
    """The honest test losses, shape (runs, epochs), of `runs` as a long frame."""
    epochs = losses.shape[1]
    return pd.DataFrame(
        {
            "run_id": np.repeat(runs["run_id"].to_numpy(), epochs),
            "metric": "honest/test_loss",
            "epoch": np.tile(np.arange(1, epochs + 1), len(runs)),
            "value": losses.ravel(),
        }
    )


def draw_curves(
    turns: npt.ArrayLike,
    slope: float,
    noise: float,
    rng: np.random.Generator,
    *,
    epochs: int = EPOCHS,
    fall: float = 0.1,
    speed: float = 1.5,
) -> npt.NDArray[np.float64]:
    """Loss curves (runs, epochs) that fall by `fall` nats, and from epoch `turns` (runs,) on rise by `slope` an epoch.

    The fall is exponential, by a factor of e in `speed` epochs.
    """
    epoch = np.arange(1, epochs + 1)
    rise = slope * np.maximum(0, epoch - np.asarray(turns, dtype=float)[:, None])
    return 0.03 + fall * np.exp(-epoch / speed) + rise + noise * rng.normal(size=(len(rise), epochs))


def bound_rate(rate: float, studies: int = 1000) -> float:
    """The rate plus three Monte-Carlo standard errors."""
    return rate + 3 * (rate * (1 - rate) / studies) ** 0.5


GAP = Claim(name="gap", statement="the gap shrinks", estimand="gap", direction="lower", smallest_effect=0.005)
ERROR = Claim(
    name="error", statement="no more errors", estimand="test_error", direction="not_higher", smallest_effect=0.001
)
ONSET = Claim(
    name="onset",
    statement="most overfit in epochs 10 to 15",
    estimand="onset",
    contrast="plain",
    direction="higher",
    reference=0.5,
    smallest_effect=0.1,
    epochs=(10, 15),
    smallest_rise=0.005,
)
DEPTH = replace(GAP, name="depth", by="depth", smallest_effect=0.001)
HEADLINE = Claim(name="both", statement="generalises better", all_of=("gap", "error"))
SPREAD = np.array([-1.0, -0.5, 0.0, 0.5, 1.0, 0.0])[:, None]  # over seeds; its mean is 0


def plant_effects(mean: float, spread: float = 0.001, twins: int = 3) -> np.ndarray:
    """Effects (6 seeds, twins) with this mean and this spread over seeds."""
    return mean + spread * SPREAD + np.zeros(twins)


def plant_errors(mean: float, spread: float = 0.0001):
    """Runs of 3 twins whose test error is `mean` higher in the regularised variants."""
    runs = plant_gap(plant_effects(-0.03))
    effects = np.zeros((6, 6))
    effects[:, 1::2] = plant_effects(mean, spread)
    return runs.assign(**{"final/test_accuracy": 0.99 - effects.ravel()})


def judge_claims(declared, runs, history=NO_HISTORY, design=None, **more):
    return claims.judge_claims(declared, Records(runs=runs, history=history, **more), design or Design())


def judge(claim: Claim, runs, history=NO_HISTORY, design=None, **more):
    return judge_claims([claim], runs, history, design, **more)[0]


def declare(frozen=None, planned=None, **more) -> Design:
    return Design(frozen=frozen, planned=planned or {}, **more)
