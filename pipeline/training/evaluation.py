"""What a network does with images in evaluation mode: no dropout, moving statistics, no penalty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline import interrupts
from pipeline.images import MNIST

BATCH = 200  # images of 28x28 at once; of larger ones fewer, as their layers take more memory


class Predictions(NamedTuple):
    """By image (N,): the predicted label and the true class's log-probability."""

    predicted: npt.NDArray[Any]
    log_probability: npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Mean cross-entropy (nats) and accuracy, and what they are the means of."""

    loss: float
    accuracy: float
    predictions: Predictions


def compile_evaluation(network: keras.Model) -> Callable[[Any, Any], Evaluation]:
    """A function of images (N, H, W, C) and labels (N,) that evaluates `network` with the weights of that moment."""
    output = network.layers[-1]
    trunk = keras.Model(network.inputs, output.input)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)], autograph=False
    )
    def log_probabilities(images: Any) -> Any:
        # From the logits, as Keras's own loss in fit does: a probability that rounds to 0 would lose its logarithm.
        features = tf.cast(trunk(images, training=False), tf.float32)
        return tf.nn.log_softmax(tf.matmul(features, output.kernel) + output.bias)

    height, width, _ = network.input_shape[1:]
    batch = max(1, min(BATCH, BATCH * MNIST.height * MNIST.width // (height * width)))

    def evaluate(images: Any, labels: npt.NDArray[Any]) -> Evaluation:
        parts = []
        for first in range(0, len(labels), batch):
            interrupts.check()
            parts.append(log_probabilities(images[first : first + batch]).numpy())
        scores = np.concatenate(parts)
        chosen = scores[np.arange(len(labels)), labels]
        predicted = scores.argmax(axis=1).astype(labels.dtype)
        return Evaluation(
            loss=float(-chosen.mean(dtype=np.float64)),
            accuracy=float((predicted == labels).mean()),
            predictions=Predictions(predicted, chosen),
        )

    return evaluate


def measure_penalty(network: keras.Model) -> float:
    """The L2 penalty that Keras adds to the loss, with the weights of this moment."""
    return float(sum(float(loss) for loss in network.losses))
