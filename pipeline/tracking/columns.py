"""Which params, tags and metrics of a run are read back, and the columns with their types that they become."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from pipeline.images import CLASSES, SHAPE
from pipeline.study import metrics, tags
from pipeline.study.settings import RULES, name_option
from pipeline.tracking.mlflow_internals import Keys

SETTINGS = tuple(name for name in RULES if name != "data")
"""The settings that are read back for every run; where the data lie is looked up when somebody asks."""
NETWORK = ("depth_called", "depth_counted", "kernel", "regularised", "dropout", "batch_norm", "parameters")
PARAMS: Mapping[str, str] = {
    "arch": "arch",
    **{name_option(name): name for name in SETTINGS},
    tags.PARAM_DATA_SHA256: "data_sha256",
    tags.PARAM_DATA_NAME: "data_name",
    **{name_option(name): name for name in NETWORK},
    "parameters-trainable": "trainable_parameters",
    SHAPE: "image_shape",
    CLASSES: "classes",
}
TAGS: Mapping[str, str] = {
    tags.RUN_NAME: "run_name",
    tags.VARIANT: "variant",
    tags.OUTCOME: "outcome",
    tags.REASON: "reason",
    tags.WEIGHTS_SHA256: "weights_sha256",
    tags.FINGERPRINT: "fingerprint",
    tags.HOST: "host",
    tags.EPOCH: "last_epoch",
    tags.TRAIN_IMAGES: "train_images",
    tags.EVIDENCE: "evidence",
    tags.ORIGIN: "origin",
}
RESULTS: Keys = {"params": PARAMS, "tags": TAGS, "latest_metrics": {str(name): str(name) for name in metrics.FINALS}}
"""Of each table of MLflow's the keys that are read, with the columns that they become."""
PROCESS: Keys = {"tags": {name: name for name in (tags.HOST, *tags.OF_PROCESS)}}
"""What says whether a run's process lives."""
ORIGINS: Keys = {
    "params": {"data": "data", tags.PARAM_DATA_NAME: "data_name"},
    "tags": {
        tags.SOURCE_TYPE: "source_type",
        tags.COMMIT: "commit",
        tags.REPOSITORY: "repository",
        tags.GIT_DIRTY: "dirty",
        tags.ATTEMPT: "attempts",
    },
}
ROW = ("arch", "kernel", "features", "head", "padding", "pooling", "regularised", "depth-called")
"""The params from which study.facts.restore_row rebuilds what a run has trained."""
CURVES = (
    *(metrics.TRAIN_LOSS, metrics.TEST_LOSS, metrics.HONEST_TRAIN_LOSS, metrics.HONEST_TEST_LOSS),
    metrics.TEST_ACCURACY,
)
NUMBERS = (
    *("depth_called", "depth_counted", "kernel", "parameters", "trainable_parameters", "classes", "last_epoch"),
    "train_images",
)
TEXTS = (*(name for name in TAGS.values() if name not in NUMBERS), "data_sha256", "data_name", "image_shape", "status")
UNKNOWN = -1


def type_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """The raw rows with the types that the analysis expects."""
    typed = rows.assign(variant=rows["variant"].fillna(rows["arch"])).drop(columns=["arch", "artifact_uri"])
    for name in SETTINGS:
        rule = RULES[name]
        missing = rule.default if rule.later else "" if isinstance(rule.default, str) else UNKNOWN
        typed[name] = typed[name].astype(object).fillna(missing).map(rule.kind).astype(type(rule.default))
    for name in NUMBERS:
        typed[name] = pd.to_numeric(typed[name], errors="coerce").fillna(UNKNOWN).astype(int)
    for name in metrics.FINALS:
        typed[name] = typed[name].astype(float)
    for name in TEXTS:
        typed[name] = typed[name].fillna("").astype(str)
    for name in ("started", "ended"):
        typed[name] = pd.to_datetime(pd.to_numeric(typed[name]), unit="ms", utc=True)
    typed["dropout"] = pd.to_numeric(typed["dropout"], errors="coerce").fillna(0) > 0
    for name in ("regularised", "batch_norm"):
        typed[name] = typed[name] == "True"
    return typed
