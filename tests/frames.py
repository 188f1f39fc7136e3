"""Frames as the tracking room hands them over, with invented but plausible numbers."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

import numpy as np
import pandas as pd

from pipeline.analysis.table.selection import MNIST_SHA256
from pipeline.study.layers import count_parameters
from pipeline.study.metrics import FINALS
from pipeline.study.settings import Settings
from pipeline.study.variants import VARIANTS, published_variants

PUBLISHED_NAMES = [variant.name for variant in published_variants()]


def make_runs(variants=PUBLISHED_NAMES, seeds=(0,), **changes):
    """A `runs` frame, finished runs in order of time; `changes` set a column for all of them."""
    cells = [(variant, seed) for seed in seeds for variant in variants]
    runs = pd.DataFrame([make_run(variant, seed, minute) for minute, (variant, seed) in enumerate(cells)])
    return runs.assign(**changes)


def make_run(variant, seed=0, minute=0, **changes):
    row, rng = VARIANTS[variant], np.random.default_rng([seed, list(VARIANTS).index(variant)])
    parameters, trainable = count_parameters(row)
    train_loss = (0.12 if row.regularised else 0.004) * rng.uniform(0.9, 1.1)
    test_loss = (0.075 if row.regularised else 0.060) * rng.uniform(0.9, 1.1)
    honest = test_loss * (0.4 if row.regularised else 0.05)
    started = pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(minutes=10 * minute)
    run_id = hashlib.md5(f"{variant} {seed} {minute}".encode()).hexdigest()
    return {
        "run_id": run_id,
        "run_name": f"{variant}-s{seed}",
        "experiment": "mnist14",
        "variant": variant,
        **asdict(Settings(seed=seed)),
        "data_sha256": MNIST_SHA256,
        "depth_called": row.depth_called,
        "depth_counted": row.depth_counted,
        "kernel": row.kernel,
        "regularised": row.regularised,
        "twin": row.twin or "",
        "dropout": row.dropout,
        "batch_norm": row.batch_norm,
        "parameters": parameters,
        "trainable_parameters": trainable,
        "image_shape": "28x28x1",
        "classes": 10,
        "status": "FINISHED",
        "outcome": "finished",
        "reason": "",
        "started": started,
        "ended": started + pd.Timedelta(minutes=5),
        "fingerprint": "f" * 64,
        "origin": "",
        "weights_sha256": hashlib.sha256(f"{variant} {seed}".encode()).hexdigest(),
        **dict.fromkeys(map(str, FINALS), 0.5),
        "final/train_loss": train_loss,
        "final/train_accuracy": 1 - train_loss / 3,
        "final/test_loss": test_loss,
        "final/test_accuracy": np.round(1 - test_loss / 6, 4),
        "final/honest_train_loss": honest,
        "final/honest_train_accuracy": 1 - honest / 4,
        "final/honest_test_loss": test_loss - 0.001,
        "final/gap_notebook": test_loss - train_loss,
        "final/gap_honest": test_loss - 0.001 - honest,
        "final/epoch_seconds": parameters / 20_000,
    } | changes


def make_history(runs, epochs=25):
    """The loss curves of `runs` as a long frame; plain networks turn up after epoch 12."""
    epoch = np.arange(1, epochs + 1)
    parts = []
    for run in runs.to_dict("records"):
        rng = np.random.default_rng(run["seed"])
        train = run["final/train_loss"] + 0.5 * np.exp(-epoch / 4) + rng.normal(0, 0.0005, epochs)
        rise = 0 if run["regularised"] else 0.003 * np.clip(epoch - 12, 0, None)
        test = run["final/test_loss"] + 0.2 * np.exp(-epoch / 3) + rise + rng.normal(0, 0.002, epochs)
        for metric, values in (("train/loss", train), ("test/loss", test)):
            for name in (metric, f"honest/{metric.replace('/', '_')}"):
                parts.append(
                    pd.DataFrame({"run_id": run["run_id"], "metric": name, "epoch": epoch, "value": values.clip(1e-4)})
                )
    return pd.concat(parts, ignore_index=True)


def make_onsets(runs, epochs=25):
    """`runs` with onsets: plain networks between 9 and 16, regularised ones censored at the end."""
    spread = 9 + (runs["seed"].to_numpy() * 3 + np.arange(len(runs))) % 8
    onset = np.where(runs["regularised"], np.nan, spread)
    return runs.assign(epochs=epochs, onset=onset)
