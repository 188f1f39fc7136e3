from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from pipeline.study.variants import find_variant
from pipeline.training.network import build_network
from pipeline.training.step import compile_step, count_dropouts, drop_half

SHAPES = ((128, 14, 14, 32), (44, 7, 7, 5), (3, 11), (1, 1))


def draw(shape: tuple[int, ...], *seed: int) -> npt.NDArray[np.float32]:
    return np.asarray(drop_half(tf.ones(shape), tf.constant(seed)))


@pytest.mark.parametrize("shape", SHAPES)
def test_dropout_keeps_half_doubled_and_the_gradient_follows(shape: tuple[int, ...]) -> None:
    values = tf.random.stateless_normal(shape, (1, 2))
    with tf.GradientTape() as tape:
        tape.watch(values)
        dropped = drop_half(values, tf.constant([3, 4]))
    mask = draw(shape, 3, 4)
    assert set(np.unique(mask)) <= {0.0, 2.0}
    assert np.array_equal(dropped, values * mask)
    assert np.array_equal(tape.gradient(dropped, values), mask)


def test_each_value_is_dropped_on_its_own_each_time() -> None:
    draws = np.stack([draw((1024,), 5, batch) for batch in range(400)]) - 1  # -1 or 1
    assert abs(draws.mean()) < 4 / np.sqrt(draws.size)
    for axis in (0, 1):  # over batches, and over a batch's values
        assert np.abs(draws.mean(axis)).max() < 5 / np.sqrt(draws.shape[axis])
    together = draws.T @ draws / len(draws) - np.eye(1024)  # of each pair of values
    assert np.abs(together).max() < 6.5 / np.sqrt(len(draws))


def test_a_step_draws_by_batch_and_seed_alone() -> None:
    images, targets = tf.random.stateless_normal((64, 28, 28, 1), (1, 1)), tf.one_hot(tf.range(64) % 10, 10)

    def first_loss(batch: int, seed: int) -> float:
        network = build_network(find_variant("conv2_3x3_reg"), seed=0)
        seeds = np.full((count_dropouts(network), 2), seed, np.int32)
        return float(compile_step(network, images, targets)(tf.range(64), batch, seeds)[0])

    loss = first_loss(1, 7)
    assert loss == first_loss(1, 7)
    assert len({loss, first_loss(2, 7), first_loss(1, 8)}) == 3
