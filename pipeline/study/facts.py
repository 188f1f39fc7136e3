"""A run's configuration as plain facts, under the names of its MLflow params: described, and restored from them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import ExperimentError
from pipeline.images import MNIST, Images
from pipeline.study.custom import build_row
from pipeline.study.layers import count_parameters, plan_layers
from pipeline.study.settings import RULES, Settings, name_option, restore_values
from pipeline.study.variants import DROPOUT_RATE, LEARNING_RATE, VARIANTS, Variant

POOLING = "max 2x2 "
OWN_FILE = "FILE.toml"
"""Stands for the file of a user's own variant: a run knows its row, not where that was written down."""

COLOURS = {False: "#D55E00", True: "#0072B2"}
"""Of plain and regularised networks, in every figure and in MLflow's interface: Okabe and Ito's vermillion and blue."""


def describe_settings(settings: Settings) -> dict[str, object]:
    """The settings under the names that they have on the command line and in MLproject."""
    return {name_option(name): getattr(settings, name) for name in RULES}


def restore_settings(facts: Mapping[str, Any]) -> Settings:
    """The settings that describe_settings described, as they were or as texts; raises KeyError or ValueError."""
    names = {name: name_option(name) for name in RULES}
    return restore_values({name: facts[key] for name, key in names.items() if key in facts or not RULES[name].later})


def describe_variant(variant: Variant, images: Images = MNIST) -> dict[str, object]:
    """Every hyperparameter of the variant, numbers as numbers, the same names for all variants, and its size."""
    parameters, trainable = count_parameters(variant, images)
    return {**describe_row(variant), "parameters": parameters, "parameters-trainable": trainable}


def describe_row(variant: Variant) -> dict[str, object]:
    """The hyperparameters of the variant that are the same whatever the images."""
    return {
        "arch": variant.name,
        "depth-called": variant.depth_called,
        "depth-counted": variant.depth_counted,
        "kernel": variant.kernel,
        "filters": "-".join(map(str, variant.filters)),
        "features": variant.features,
        "head": variant.head,
        "padding": variant.conv_padding,
        "pooling": f"{POOLING}{variant.pool_padding}",
        "regularised": variant.regularised,
        "dropout": DROPOUT_RATE if variant.dropout else 0.0,
        "dropout-layers": sum(layer.kind == "dropout" for layer in plan_layers(variant)),
        "batch-norm": variant.batch_norm,
        "l2": variant.l2,
        "initialiser": "he_normal" if variant.regularised else "glorot_uniform",
        "optimiser": "adam",
        "learning-rate": LEARNING_RATE,
        "loss": "categorical_crossentropy",
    }


def restore_row(facts: Mapping[str, Any]) -> Variant:
    """The row that a run has trained, from its config.json or its params (study.facts), without its labels.

    Raises KeyError or ValueError where they do not describe one.
    """
    name = str(facts["arch"])
    if name in VARIANTS:
        return VARIANTS[name]
    try:
        return build_row(
            Path("run"),
            "",
            {
                "name": name,
                "kernel": int(facts["kernel"]),
                "features": facts["features"],
                "head": facts["head"],
                "conv_padding": facts["padding"],
                "pool_padding": str(facts["pooling"]).removeprefix(POOLING),
                "regularised": str(facts["regularised"]) == "True",
                "depth_called": int(facts["depth-called"]),
            },
        )
    except ExperimentError as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where one run comes from; what was not recorded, or cannot be read any more, is empty.

    `environment` is the run's environment.json; `dirty` says whether its checkout had changes; `seconds` from its start
    to its end by the store's clock, pauses of a resumed run included; `weights` the violins of its kernels, a PNG file.
    """

    run_id: str
    variant: str
    settings: Settings
    data_name: str = ""
    commit: str = ""
    dirty: bool | None = None
    repository: str = ""
    attempts: int = 1
    seconds: float | None = None
    environment: Mapping[str, object] = field(default_factory=dict)
    weights: bytes = b""


def format_options(variant: str, settings: Settings, file: str) -> str:
    """The options of `mlflow run` that differ from the study's protocol; `file` has the row of a user's own variant."""
    default = Settings()
    options = [f"-P arch={variant}"]
    if variant not in VARIANTS:
        options.append(f"-P variants={shlex.quote(file)}")
    for name in RULES:
        if (value := getattr(settings, name)) != getattr(default, name):
            options.append(f"-P {name_option(name)}={shlex.quote(str(value))}")
    return " ".join(options)
