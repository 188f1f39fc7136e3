"""Use a finished run's network: rebuilt from its variant, its weights checked against the run's hash."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt

from pipeline.data.datasets import normalise
from pipeline.errors import StoreError
from pipeline.images import restore_images
from pipeline.study.facts import restore_row
from pipeline.study.settings import Settings
from pipeline.tracking.files.model import load_network
from pipeline.tracking.files.registry import FinishedRun
from pipeline.training.network import build_network, hash_weights, takes_pixels

PROBES = 4
TOLERANCE = 1e-5


def load_verified(run: FinishedRun) -> keras.Model:
    """The network of a run, (N, H, W, C) float32 in, (N, classes) probabilities out.

    What the store holds gives the weights alone. Raises StoreError unless they have the hash that the run logged, and
    the stored model answers as the network that the variant's declaration builds: a server answers with the former.
    A user's own variant is declared by the params of its run.
    """
    try:
        row, images = restore_row({**run.facts, "arch": run.variant}), restore_images(run.facts)
    except (KeyError, ValueError) as error:
        raise StoreError(f"run {run.run_id} does not say what {run.variant} is ({error}); train it again") from error
    stored = load_network(run.run_id)
    try:
        network = build_network(row, run.seed, run.facts.get("precision", Settings.precision), images)
        network.set_weights(stored.get_weights())
    except ValueError as error:
        raise StoreError(f"the model of run {run.run_id} is no {run.variant}; train it again") from error
    if hash_weights(network) != run.weights_sha256:
        raise StoreError(f"the weights of run {run.run_id} are not those that it logged; train it again")
    probes = np.random.default_rng(0).integers(0, 256, (PROBES, *images.raw_shape)).astype(np.uint8)
    normalised = normalise(probes, run.normalization)
    given = probes if takes_pixels(stored) else normalised
    try:
        alike = np.allclose(stored(given, training=False), network(normalised, training=False), atol=TOLERANCE)
    except (ValueError, TypeError):  # it takes other shapes, or answers in others
        alike = False
    if not alike:
        raise StoreError(f"the model of run {run.run_id} does not answer as {run.variant} does; train it again")
    return network


def predict_images(network: keras.Model, images: npt.NDArray[np.uint8], normalization: str) -> npt.NDArray[np.float32]:
    """Class probabilities (N, classes) of images as the training set shows them, uint8 (N, H, W) or (N, H, W, 3)."""
    return np.asarray(network.predict(normalise(images, normalization), verbose=0))
