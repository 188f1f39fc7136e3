"""The network as it is logged for use: raw pixels in, so that nobody has to normalise them, or can forget it."""

from __future__ import annotations

import keras
from keras import ops

from pipeline.images import Images


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
