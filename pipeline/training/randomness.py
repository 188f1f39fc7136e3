"""All randomness of a training as a function of (seed, epoch), in three named streams that never touch each other.

Keras and TensorFlow hold hidden state instead: with a global seed `model.fit` repeats one permutation in every epoch,
and what a dropout draws depends on all that it drew before. Here a run that starts again at any epoch draws what it
would have drawn.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import numpy.typing as npt

STREAMS = {"init": 0, "order": 1, "dropout": 2}


def _seed(seed: int, stream: str, *path: int) -> np.random.SeedSequence:
    """A source of random bits that depends on nothing but the arguments."""
    return np.random.SeedSequence([seed, STREAMS[stream], *path])


def derive_init_seed(seed: int, layer: int) -> int:
    """Seed of the initialiser of the `layer`-th kernel, in 0..2**31-1."""
    return int(_seed(seed, "init", layer).generate_state(2, np.uint32)[0] >> 1)


def draw_order(seed: int, epoch: int, size: int) -> npt.NDArray[np.int32]:
    """The order, int32 (size,), in which epoch `epoch` shows the training images: the same for every variant."""
    return np.random.default_rng(_seed(seed, "order", epoch)).permutation(size).astype(np.int32)


def draw_dropout_seeds(seed: int, epoch: int, layers: int) -> npt.NDArray[np.int32]:
    """Two words for each dropout layer, int32 (layers, 2), from which an epoch's batches draw what they drop."""
    words = [_seed(seed, "dropout", epoch, layer).generate_state(2, np.uint32) for layer in range(layers)]
    return np.array(words, np.uint32).reshape(layers, 2).view(np.int32)


@functools.cache
def hash_streams() -> str:
    """sha256 (hex) over a sample of each stream: it changes where another numpy or other code draws other numbers."""
    sample = f"{derive_init_seed(7, 3)}\n".encode() + draw_order(7, 3, 1000).tobytes()
    return hashlib.sha256(sample + draw_dropout_seeds(7, 3, 5).tobytes()).hexdigest()
