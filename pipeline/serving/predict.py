"""Use a finished run's network: rebuilt from its variant, its weights checked against the run's hash."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt

from pipeline.data.datasets import normalise
from pipeline.errors import StoreError
from pipeline.study.facts import restore_row
from pipeline.study.settings import Settings
from pipeline.study.variants import IMAGE_SHAPE
from pipeline.tracking.files.artifacts import load_network
from pipeline.tracking.files.registry import FinishedRun
from pipeline.training.network import build_network, hash_weights

PROBES = 4
TOLERANCE = 1e-5


def load_verified(run: FinishedRun) -> keras.Model:
    """The network of a run, (N, 28, 28, 1) float32 in, (N, 10) probabilities out.

    What the store holds gives the weights alone. Raises StoreError unless they have the hash that the run logged, and
    the stored model answers as the network that the variant's declaration builds: a server answers with the former.
    A user's own variant is declared by the params of its run.
    """
    try:
        row = restore_row({**run.facts, "arch": run.variant})
    except (KeyError, ValueError) as error:
        raise StoreError(f"run {run.run_id} does not say what {run.variant} is ({error}); train it again") from error
    stored = load_network(run.run_id)
    try:
        network = build_network(row, run.seed, run.facts.get("precision", Settings.precision))
        network.set_weights(stored.get_weights())
    except ValueError as error:
        raise StoreError(f"the model of run {run.run_id} is no {run.variant}; train it again") from error
    if hash_weights(network) != run.weights_sha256:
        raise StoreError(f"the weights of run {run.run_id} are not those that it logged; train it again")
    probes = np.random.default_rng(0).random((PROBES, *IMAGE_SHAPE), np.float32)
    if not np.allclose(stored(probes, training=False), network(probes, training=False), atol=TOLERANCE):
        raise StoreError(f"the model of run {run.run_id} does not answer as {run.variant} does; train it again")
    return network


def predict_digits(network: keras.Model, digits: npt.NDArray[np.uint8], normalization: str) -> npt.NDArray[np.float32]:
    """Class probabilities (N, 10) of digits as MNIST shows them, uint8 (N, 28, 28)."""
    return np.asarray(network.predict(normalise(digits, normalization), verbose=0))
