"""A run's whole configuration as plain facts, under the names of its MLflow parameters."""

from __future__ import annotations

from pipeline.study.layers import count_parameters, plan_layers
from pipeline.study.settings import Settings
from pipeline.study.variants import DROPOUT_RATE, LEARNING_RATE, Variant


def describe_settings(settings: Settings) -> dict[str, object]:
    """The settings under the names that they have on the command line and in MLproject."""
    return {
        "epochs": settings.epochs,
        "batch-size": settings.batch_size,
        "seed": settings.seed,
        "subset": settings.subset,
        "normalization": settings.normalization,
        "data": settings.data,
        "threads": settings.threads,
        "precision": settings.precision,
        "jit": settings.jit,
    }


def describe_variant(variant: Variant) -> dict[str, object]:
    """Every hyperparameter of the variant, numbers as numbers, the same names for all variants."""
    parameters, trainable = count_parameters(variant)
    return {
        "arch": variant.name,
        "depth-called": variant.depth_called,
        "depth-counted": variant.depth_counted,
        "kernel": variant.kernel,
        "filters": "-".join(map(str, variant.filters)),
        "features": variant.features,
        "head": variant.head,
        "padding": variant.conv_padding,
        "pooling": f"max 2x2 {variant.pool_padding}",
        "regularised": variant.regularised,
        "dropout": DROPOUT_RATE if variant.dropout else 0.0,
        "dropout-layers": sum(layer.kind == "dropout" for layer in plan_layers(variant)),
        "batch-norm": variant.batch_norm,
        "l2": variant.l2,
        "initialiser": variant.initialiser,
        "optimiser": "adam",
        "learning-rate": LEARNING_RATE,
        "loss": "categorical_crossentropy",
        "parameters": parameters,
        "parameters-trainable": trainable,
    }
