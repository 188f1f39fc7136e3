"""What stands in one place of the conclusion table: a published label, a declared fact, or a number with its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd

from pipeline.analysis.statistics import t_interval
from pipeline.analysis.table.selection import METRICS
from pipeline.images import Images
from pipeline.study import metrics
from pipeline.study.layers import count_parameters
from pipeline.study.variants import Variant

LABELS = ("#ConvNets", "#Kernels/Filters", "Padding", "Stride", "Dropout", "BatchNormalization", "Regularization")

# The notebook's table file has no TRAIN_LOSS; seven rows of it survive in the notebook's epoch log, to four digits.
PUBLISHED = {name: "train_loss_last_epoch_log" if name == "TRAIN_LOSS" else name for name in METRICS}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of the table, unformatted.

    `kind` is label, declared (read off the network's declaration), measured, published or difference. `value` is None
    where there is nothing to show; `low` and `high` bound the mean's 95 % t-interval over seeds, None below two runs.
    `source` names the metric, file or declaration, `run_ids` the runs that went into the number.
    """

    value: str | bool | int | float | None
    kind: str
    source: str
    low: float | None = None
    high: float | None = None
    run_ids: tuple[str, ...] = ()


@cache
def load_published() -> Mapping[str, Mapping[str, str]]:
    """The notebook's published table as texts by variant and column; '' where the notebook shows nothing."""
    with files("pipeline.study").joinpath("published.csv").open(encoding="utf-8") as file:
        frame = pd.read_csv(file, dtype=str, keep_default_na=False, index_col="variant")
    return {str(variant): dict(row) for variant, row in frame.iterrows()}


def measure_entry(runs: pd.DataFrame, metric: str) -> Entry:
    """Mean of a metric over the runs that have it, with its t-interval from two runs on."""
    used = runs[np.isfinite(runs[metric])]
    if used.empty:
        return Entry(value=None, kind="measured", source=metric)
    mean, low, high = t_interval(used[metric].to_numpy(dtype=float))
    bounds = {"low": float(low), "high": float(high)} if len(used) > 1 else {}
    ids = tuple(str(run_id) for run_id in used["run_id"])
    return Entry(value=float(mean), kind="measured", source=metric, run_ids=ids, **bounds)


def label_row(variant: Variant) -> dict[str, Entry]:
    """The seven label entries: the notebook's own words for a published row, the declared network's for a control."""
    if variant.published:
        texts, source = load_published()[variant.name], "published.csv"
    else:
        values = (
            str(variant.depth_called),
            f"{variant.kernel}x{variant.kernel}",
            "same" if variant.conv_padding == "same" else "-",
            "2x2",
            str(variant.dropout),
            str(variant.batch_norm),
            "L2 (0.00001)" if variant.l2 else "-",
        )
        texts, source = dict(zip(LABELS, values, strict=True)), "declared network"
    return {label: Entry(value=texts[label], kind="label", source=source) for label in LABELS}


def tell_truth(variant: Variant, runs: pd.DataFrame, images: Images) -> dict[str, Entry]:
    """What the network really holds for such images, beside what it is called."""
    declared: dict[str, int | bool] = {
        "depth counted": variant.depth_counted,
        "dropout in network": variant.dropout,
        "batch norm in network": variant.batch_norm,
        "parameters": count_parameters(variant, images)[0],
    }
    entries = {name: Entry(value=value, kind="declared", source="declared network") for name, value in declared.items()}
    columns = (metric for metric in metrics.FINALS if metric.column and metric in runs)
    return entries | {metric.column: measure_entry(runs, metric) for metric in columns}


def compare_published(variant: Variant, entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """The notebook's number and ours minus it, for each measured column."""
    texts = load_published().get(variant.name, {})
    compared = {}
    for column, origin in PUBLISHED.items():
        text, ours = texts.get(origin, ""), entries[column]
        then = float(text) if text else None
        difference = ours.value - then if isinstance(ours.value, float) and then is not None else None
        source = f"published.csv, {origin}"
        run_ids = ours.run_ids if difference is not None else ()
        compared[f"published {column}"] = Entry(value=then, kind="published", source=source)
        compared[f"{column} difference"] = Entry(
            value=difference, kind="difference", source=f"{ours.source} - {source}", run_ids=run_ids
        )
    return compared
