"""One step of a training: the loss of a batch, its gradients, and Adam."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from pipeline.study.variants import DROPOUT_RATE

Step = Callable[[Any, Any, Any], tuple[Any, Any]]
KEPT = 1 - DROPOUT_RATE
PLANES = (1, 2, 4, 8, 16, 32, 64, 128)


def compile_step(network: keras.Model, images: Any, targets: Any, *, jit: bool = False) -> Step:
    """A function that trains `network` on one batch of images (N, H, W, C) and one-hot targets (N, K).

    It takes the batch's places in them, int32 (B,), the batch's number in its epoch, int32, and the epoch's seeds of
    dropout, int32 (dropout layers, 2). It gives the mean loss with the penalty (nats), NaN where a weight is no longer
    finite, and how many were right. `jit` lets XLA compile it.
    """
    optimizer, variables = network.optimizer, network.trainable_variables
    if not optimizer.built:  # a second time would forget the scale of a loss
        optimizer.build(variables)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((), tf.int32),
            tf.TensorSpec((count_dropouts(network), 2), tf.int32),
        ],
        jit_compile=jit or None,
        autograph=False,  # there is no Python to convert, and looking for some takes a second
    )
    def step(places: Any, batch: Any, seeds: Any) -> tuple[Any, Any]:
        wanted = tf.gather(targets, places)
        with tf.GradientTape() as tape:
            logits = _compute_logits(network, tf.gather(images, places), tf.add(seeds, [0, batch]), jit)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(wanted, logits))
            loss += tf.add_n([*network.losses, tf.zeros(())])
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)
        right = tf.equal(tf.argmax(logits, axis=1), tf.argmax(wanted, axis=1))
        sound = tf.math.is_finite(tf.linalg.global_norm(variables))  # oneDNN's ReLU makes 0 of NaN, and a loss of that
        return tf.where(sound, loss, math.nan), tf.reduce_sum(tf.cast(right, tf.int32))

    return step  # type: ignore[no-any-return]


def count_dropouts(network: keras.Model) -> int:
    """The dropout layers of a network."""
    return sum(isinstance(layer, keras.layers.Dropout) for layer in network.layers)


def _compute_logits(network: keras.Model, images: Any, seeds: Any, jit: bool) -> Any:
    """What enters the softmax, in training mode, with our own draws in the place of each dropout layer's."""
    values, number = images, 0
    for layer in network.layers[:-1]:
        if isinstance(layer, keras.layers.Dropout):
            values = drop_half(values, seeds[number])
            number += 1
        elif jit and isinstance(layer, keras.layers.MaxPooling2D):
            values = pool_pairs(values, layer.padding)
        else:
            values = layer(values, training=True)
    output = network.layers[-1]
    return tf.matmul(tf.cast(values, tf.float32), output.kernel) + output.bias


def drop_half(values: Any, seed: Any) -> Any:
    """`values` of any shape with about half of them 0 and the others doubled, as `seed`, int32 (2,), decides.

    Keras draws a 32-bit number for every value and compares it; here each bit of a drawn number decides for one value.
    """
    size = tf.size(values)
    words = tf.random.stateless_uniform([(size + 31) // 32], seed, None, None, tf.uint32, alg="philox")
    octets = tf.reshape(tf.bitcast(words, tf.uint8), (1, -1))
    kept = tf.bitwise.bitwise_and(octets, tf.constant(PLANES, tf.uint8)[:, tf.newaxis]) != 0
    mask = tf.reshape(tf.reshape(kept, (-1,))[:size], tf.shape(values))
    return values * tf.cast(mask, values.dtype) / KEPT


def pool_pairs(values: Any, padding: str) -> Any:
    """The greatest of each 2x2 values (N, H, W, C), as MaxPooling2D has it; XLA has no deterministic gradient of that.

    Where two are the same, each gets half of the gradient, which matters for no value that a ReLU has cut.
    """
    _, height, width, channels = values.shape
    if padding == "same":
        missing = [[0, 0], [0, height % 2], [0, width % 2], [0, 0]]
        values = tf.pad(values, missing, constant_values=values.dtype.min)
    rows, columns = values.shape[1] // 2, values.shape[2] // 2
    pairs = tf.reshape(values[:, : 2 * rows, : 2 * columns], (-1, rows, 2, columns, 2, channels))
    return tf.reduce_max(pairs, axis=(2, 4))
