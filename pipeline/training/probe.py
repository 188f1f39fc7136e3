"""How fast this machine trains, from a few seconds of it."""

from __future__ import annotations

import statistics
import time

import numpy as np
import tensorflow as tf

from pipeline.images import Images
from pipeline.study.settings import Settings
from pipeline.study.variants import Variant
from pipeline.training.network import build_network
from pipeline.training.randomness import draw_dropout_seeds
from pipeline.training.runtime import prepare_runtime
from pipeline.training.step import compile_step, count_dropouts

SECONDS = 3.0
FEWEST_STEPS = 3


def time_image(variant: Variant, settings: Settings, images: Images) -> float:
    """Seconds that a training takes for one image, by the median of the steps that fit into SECONDS on random images.

    Keeps nothing and asks for no data. Raises TrainingError where TensorFlow already runs with other threads.
    """
    prepare_runtime(settings.threads)
    network = build_network(variant, settings.seed, settings.precision, images)
    size = settings.batch_size
    pixels = np.random.default_rng(0).random((size, *images.shape), np.float32)
    targets = tf.one_hot(np.zeros(size, np.int32), len(images.classes))
    step = compile_step(network, tf.constant(pixels), targets, jit=settings.jit == "on")
    seeds = draw_dropout_seeds(settings.seed, 1, count_dropouts(network))
    places = np.arange(size, dtype=np.int32)
    float(step(places, 0, seeds)[0])  # compiles
    taken: list[float] = []
    while len(taken) < FEWEST_STEPS or sum(taken) < SECONDS:
        started = time.perf_counter()
        float(step(places, len(taken), seeds)[0])
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) / size
