"""One builder for every variant; it reads the table's notation and knows no name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from pipeline.errors import ResumeError
from pipeline.images import MNIST, Images
from pipeline.study.layers import Layer, plan_layers
from pipeline.study.variants import DROPOUT_RATE, LEARNING_RATE, Variant
from pipeline.training.randomness import derive_init_seed


def build_network(variant: Variant, seed: int, precision: str = "float32", images: Images = MNIST) -> keras.Model:
    """The compiled network of `variant`: (N, height, width, channels) float32 in, (N, classes) probabilities out.

    Initial weights depend on `seed` alone. Adam at 0.001 and categorical cross-entropy, as in the study. Layers compute
    in `precision`; variables and the output are float32, and gradients of float16 are scaled against underflow.
    """
    adam = keras.optimizers.Adam(learning_rate=LEARNING_RATE)
    seeds = (derive_init_seed(seed, number) for number in range(1000))
    plan = [_build_layer(layer, variant, seeds, precision) for layer in plan_layers(variant, images)]
    network = keras.Sequential([keras.Input(images.shape), *plan], name=variant.name)
    network.compile(
        optimizer=keras.optimizers.LossScaleOptimizer(adam) if precision == "mixed_float16" else adam,
        loss="categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,  # XLA is several times slower here on a CPU, and draws other random numbers
    )
    return network


def _build_layer(layer: Layer, variant: Variant, seeds: Iterator[int], precision: str) -> keras.layers.Layer:
    """The Keras layer of one entry of the plan."""
    named: dict[str, Any] = {"name": layer.name, "dtype": precision}
    if layer.kind == "pool":
        return keras.layers.MaxPooling2D((2, 2), padding=layer.padding, **named)
    if layer.kind == "dropout":
        return keras.layers.Dropout(DROPOUT_RATE, seed=0, **named)
    if layer.kind == "batch_norm":
        return keras.layers.BatchNormalization(**named)
    if layer.kind == "flatten":
        return keras.layers.Flatten(**named)
    if layer.kind == "output":
        glorot = keras.initializers.GlorotUniform(seed=next(seeds))
        return keras.layers.Dense(layer.units, "softmax", kernel_initializer=glorot, name=layer.name, dtype="float32")
    initialiser = keras.initializers.HeNormal if variant.regularised else keras.initializers.GlorotUniform
    shared: dict[str, Any] = {
        "activation": "relu",
        "kernel_initializer": initialiser(seed=next(seeds)),
        "kernel_regularizer": keras.regularizers.L2(variant.l2) if variant.l2 else None,
        **named,
    }
    if layer.kind == "conv":
        return keras.layers.Conv2D(layer.units, variant.kernel, padding=layer.padding, **shared)
    return keras.layers.Dense(layer.units, **shared)


def accept_pixels(network: keras.Model, images: Images, normalization: str) -> keras.Model:
    """The network behind its normalisation: uint8 (N, H, W) or (N, H, W, 3) in, (N, classes) probabilities out.

    To the bit what data.datasets.normalise makes of the same pixels: the sum of 256 squares of a pixel fits into a
    float32. All layers and weights are those of `network`.
    """
    pixels = keras.Input(images.raw_shape, dtype="uint8", name="pixels")
    values = ops.reshape(ops.cast(pixels, "float32"), (-1, *images.shape))
    if normalization == "l2":
        norms = ops.sqrt(ops.sum(ops.square(values), axis=1, keepdims=True))
        values = ops.divide(values, ops.where(ops.equal(norms, 0.0), 1.0, norms))
    else:  # a constant would be turned into a factor, which rounds otherwise
        values = ops.divide(values, ops.where(ops.less(values, 0.0), 1.0, 255.0))
    for layer in network.layers:
        values = layer(values)
    return keras.Model(pixels, values, name=network.name)


def takes_pixels(network: keras.Model) -> bool:
    """Whether a stored network is behind its normalisation; those of earlier versions were not."""
    return str(network.inputs[0].dtype) == "uint8"


def summarise_network(network: keras.Model) -> str:
    """Keras's own summary as text, with total, trainable and non-trainable parameters."""
    lines: list[str] = []
    network.summary(print_fn=lines.append, line_length=88)
    return "\n".join(lines) + "\n"


def collect_kernels(network: keras.Model) -> dict[str, npt.NDArray[np.float32]]:
    """The flattened kernel of each conv and dense layer by its name, in network order; no biases, no batch norm."""
    return {layer.name: np.asarray(layer.kernel).ravel() for layer in network.layers if hasattr(layer, "kernel")}


def collect_state(network: keras.Model) -> dict[str, npt.NDArray[Any]]:
    """A copy of every variable of the network and of its optimiser, by a name that no counter of Keras gets into."""
    return {name: np.array(variable.numpy()) for name, variable in _name_variables(network).items()}


def restore_state(network: keras.Model, state: Mapping[str, npt.NDArray[Any]]) -> None:
    """Set every variable of the network and of its optimiser; raises ResumeError unless all of them fit."""
    network.optimizer.build(network.trainable_variables)
    variables = _name_variables(network)
    expected = {name: (tuple(variable.shape), str(variable.dtype)) for name, variable in variables.items()}
    found = {name: (values.shape, str(values.dtype)) for name, values in state.items()}
    if other := sorted(name for name, _ in expected.items() ^ found.items()):
        raise ResumeError(f"does not fit {network.name}: {', '.join(dict.fromkeys(other))} differ")
    for name, variable in variables.items():
        variable.assign(state[name])


def _name_variables(network: keras.Model) -> dict[str, Any]:
    """Every variable by part, number and path; Keras counts the first part of a path through the process."""
    parts = {"network": network.variables, "optimiser": network.optimizer.variables}
    return {
        f"{part}-{number:03}-{variable.path.partition('/')[2].replace('/', '-')}": variable
        for part, variables in parts.items()
        for number, variable in enumerate(variables)
    }


def hash_weights(network: keras.Model) -> str:
    """sha256 over the name, shape and bytes of every weight, batch-norm statistics included, dropout states not."""
    digest = hashlib.sha256()
    for variable in network.weights:
        if variable.name == "seed_generator_state":
            continue
        values = np.ascontiguousarray(variable.numpy())
        digest.update(f"{variable.path} {values.shape} {values.dtype}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
