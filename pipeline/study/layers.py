"""What a variant's notation builds: layers with output shapes and parameter counts, with no deep-learning library."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.errors import ExperimentError
from pipeline.images import LARGEST, MNIST, Images
from pipeline.study.variants import Variant

LARGEST_IMAGES = Images(height=LARGEST, width=LARGEST, channels=3)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a network; `shape` is its output without the batch axis, `units` its filters or width."""

    kind: str
    name: str
    shape: tuple[int, ...]
    units: int = 0
    padding: str = "valid"
    parameters: int = 0
    trainable: int = 0


def _extent(size: int, window: int, stride: int, padding: str) -> int:
    """Output extent of a convolution or pooling along one axis."""
    return math.ceil(size / stride) if padding == "same" else (size - window) // stride + 1


def _layer(kind: str, number: int, before: tuple[int, ...], units: int, padding: str, kernel: int) -> Layer:
    """The layer of this kind that follows an output of shape `before`."""
    name = f"{kind}{number}"
    if kind == "conv":
        height, width = (_extent(size, kernel, 1, padding) for size in before[:2])
        parameters = (kernel * kernel * before[2] + 1) * units
        return Layer(
            kind=kind,
            name=name,
            shape=(height, width, units),
            units=units,
            padding=padding,
            parameters=parameters,
            trainable=parameters,
        )
    if kind == "pool":
        height, width = (_extent(size, 2, 2, padding) for size in before[:2])
        return Layer(kind=kind, name=name, shape=(height, width, before[2]), padding=padding)
    if kind == "dense":
        parameters = (before[0] + 1) * units
        return Layer(kind=kind, name=name, shape=(units,), units=units, parameters=parameters, trainable=parameters)
    if kind == "batch_norm":
        return Layer(kind=kind, name=name, shape=before, parameters=4 * before[0], trainable=2 * before[0])
    return Layer(kind=kind, name=name, shape=before)


def plan_layers(variant: Variant, images: Images = MNIST) -> tuple[Layer, ...]:
    """Every layer that `variant` builds after its input of `images`, the output layer with a unit a class last."""
    pool_paddings = variant.pool_padding.split()
    if len(pool_paddings) == 1:
        pool_paddings *= variant.features.split().count("M")
    kinds = {"M": "pool", "D": "dropout", "B": "batch_norm"}
    counts: dict[str, int] = {}
    layers: list[Layer] = []
    shape: tuple[int, ...] = images.shape

    def append(kind: str, units: int = 0) -> None:
        nonlocal shape
        counts[kind] = counts.get(kind, 0) + 1
        padding = pool_paddings[counts[kind] - 1] if kind == "pool" else variant.conv_padding
        layers.append(_layer(kind, counts[kind], shape, units, padding, variant.kernel))
        shape = layers[-1].shape

    for token in variant.features.split():
        append("conv", int(token)) if token.isdigit() else append(kinds[token])
    shape = (math.prod(shape),)
    layers.append(Layer(kind="flatten", name="flatten", shape=shape))
    for token in variant.head.split():
        append("dense", int(token)) if token.isdigit() else append(kinds[token])
    units = len(images.classes)
    parameters = (shape[0] + 1) * units
    layers.append(
        Layer(kind="output", name="output", shape=(units,), units=units, parameters=parameters, trainable=parameters)
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
