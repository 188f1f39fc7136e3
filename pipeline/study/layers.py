"""What a variant's notation builds: layers with output shapes and parameter counts, with no deep-learning library."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass

from pipeline.errors import ExperimentError
from pipeline.images import MNIST, Images
from pipeline.study.variants import Variant

KINDS = {"M": "pool", "D": "dropout", "B": "batch_norm"}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a network; `shape` is its output without the batch axis, `units` its filters or width.

    `padding` counts in a convolution or pooling alone.
    """

    kind: str
    name: str
    shape: tuple[int, ...]
    units: int
    padding: str
    parameters: int
    trainable: int


def _shape_layer(kind: str, before: tuple[int, ...], units: int, padding: str, kernel: int) -> tuple[int, ...]:
    """The output of a layer that follows an output of shape `before`."""
    if kind in ("conv", "pool"):
        window, stride = (kernel, 1) if kind == "conv" else (2, 2)
        sides = [
            math.ceil(size / stride) if padding == "same" else (size - window) // stride + 1 for size in before[:2]
        ]
        return (*sides, units or before[2])
    if kind == "flatten":
        return (math.prod(before),)
    return (units,) if units else before


def plan_layers(variant: Variant, images: Images = MNIST) -> tuple[Layer, ...]:
    """Every layer that `variant` builds after its input of `images`, the output layer with a unit a class last."""
    steps = [(KINDS.get(token, "conv"), token) for token in variant.features.split()]
    steps += [("flatten", ""), *((KINDS.get(token, "dense"), token) for token in variant.head.split())]
    steps += [("output", str(len(images.classes)))]
    pool_paddings = itertools.cycle(variant.pool_padding.split())
    counts: Counter[str] = Counter()
    layers: list[Layer] = []
    shape: tuple[int, ...] = images.shape
    for kind, token in steps:
        counts[kind] += 1
        units = int(token) if token.isdigit() else 0
        padding = next(pool_paddings) if kind == "pool" else variant.conv_padding
        weights = shape[-1] * (variant.kernel**2 if kind == "conv" else 1) * units
        parameters = 4 * shape[-1] if kind == "batch_norm" else weights + units
        shape = _shape_layer(kind, shape, units, padding, variant.kernel)
        layers.append(
            Layer(
                kind=kind,
                name=kind if kind in ("flatten", "output") else f"{kind}{counts[kind]}",
                shape=shape,
                units=units,
                padding=padding,
                parameters=parameters,
                trainable=parameters // 2 if kind == "batch_norm" else parameters,
            )
        )
    return tuple(layers)


def find_misfit(variant: Variant, images: Images) -> str:
    """Which layer leaves nothing of such images, and what to do; empty where the network fits."""
    for layer in plan_layers(variant, images):
        if min(layer.shape) < 1:
            left = "x".join(map(str, layer.shape[:2]))
            problem = f"{layer.name} leaves {left} of a {images.size} image"
            return f"{problem}; take a smaller kernel or fewer layers, or pad with same"
    return ""


def check_fit(variant: Variant, images: Images) -> None:
    """Raise ExperimentError where a layer of the network leaves nothing of such images."""
    if misfit := find_misfit(variant, images):
        raise ExperimentError(f"{variant.name}: {misfit}")


def count_parameters(variant: Variant, images: Images = MNIST) -> tuple[int, int]:
    """(total, trainable) parameters of the network that `variant` builds for such images."""
    layers = plan_layers(variant, images)
    return sum(layer.parameters for layer in layers), sum(layer.trainable for layer in layers)
