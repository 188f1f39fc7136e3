from __future__ import annotations

import keras
import numpy as np
import pytest

from pipeline.study.layers import count_parameters, plan_layers
from pipeline.study.variants import TABLE, Variant, find_variant
from pipeline.training.network import build_network, collect_kernels, hash_weights

KINDS = {
    keras.layers.Conv2D: "conv",
    keras.layers.MaxPooling2D: "pool",
    keras.layers.Dropout: "dropout",
    keras.layers.BatchNormalization: "batch_norm",
    keras.layers.Flatten: "flatten",
    keras.layers.Dense: "dense",
}


@pytest.mark.parametrize("variant", TABLE, ids=lambda variant: variant.name)
def test_keras_builds_what_the_table_plans(variant: Variant) -> None:
    network = build_network(variant, seed=0)
    built = [(KINDS[type(layer)], layer.name, layer.output.shape[1:]) for layer in network.layers]
    planned = [(layer.kind.replace("output", "dense"), layer.name, layer.shape) for layer in plan_layers(variant)]
    assert built == planned
    trainable = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
    assert (network.count_params(), trainable) == count_parameters(variant)


@pytest.mark.parametrize("variant", TABLE, ids=lambda variant: variant.name)
def test_regularisation_is_on_every_conv_and_hidden_dense_and_nowhere_else(variant: Variant) -> None:
    for layer in build_network(variant, seed=0).layers:
        if layer.name == "output":
            assert (layer.kernel_regularizer, type(layer.kernel_initializer)) == (
                None,
                keras.initializers.GlorotUniform,
            )
            assert layer.activation is keras.activations.softmax
        elif hasattr(layer, "kernel"):
            expected = keras.initializers.HeNormal if variant.regularised else keras.initializers.GlorotUniform
            assert type(layer.kernel_initializer) is expected
            strength = float(layer.kernel_regularizer.l2) if layer.kernel_regularizer else 0.0
            assert strength == pytest.approx(1e-5 if variant.regularised else 0.0)
            assert layer.activation is keras.activations.relu
        elif isinstance(layer, keras.layers.Dropout):
            assert layer.rate == 0.5


def test_initial_weights_depend_on_the_seed_alone() -> None:
    variant = find_variant("conv2_3x3_reg")
    first = hash_weights(build_network(variant, seed=3))
    keras.utils.set_random_seed(99)
    build_network(find_variant("conv7_3x3"), seed=5)
    assert hash_weights(build_network(variant, seed=3)) == first
    assert hash_weights(build_network(variant, seed=4)) != first


def test_kernels_come_in_network_order_with_the_output_last() -> None:
    kernels = collect_kernels(build_network(find_variant("conv7_3x3"), seed=0))
    assert list(kernels) == [*(f"conv{number}" for number in range(1, 8)), "dense1", "dense2", "output"]
    assert kernels["output"].shape == (64 * 10,)
