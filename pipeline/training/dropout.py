"""Dropout of one half at the price of one random bit a value.

Keras draws a 32-bit number for every value and compares it; here each bit of a drawn number decides for one value.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipeline.study.variants import DROPOUT_RATE

KEPT = 1 - DROPOUT_RATE
PLANES = (1, 2, 4, 8, 16, 32, 64, 128)


def drop_half(values: Any, seed: Any) -> Any:
    """`values` of any shape with about half of them 0 and the others doubled, as `seed`, int32 (2,), decides."""
    size = tf.size(values)
    words = tf.random.stateless_uniform([(size + 31) // 32], seed, None, None, tf.uint32, alg="philox")
    octets = tf.reshape(tf.bitcast(words, tf.uint8), (1, -1))
    kept = tf.bitwise.bitwise_and(octets, tf.constant(PLANES, tf.uint8)[:, tf.newaxis]) != 0
    mask = tf.reshape(tf.reshape(kept, (-1,))[:size], tf.shape(values))
    return values * tf.cast(mask, values.dtype) / KEPT
