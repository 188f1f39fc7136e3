from __future__ import annotations

import numpy as np

from pipeline.study.variants import find_variant
from pipeline.training.network import build_network
from pipeline.training.randomness import derive_init_seed, draw_order, set_dropout_state


def test_every_epoch_and_seed_has_its_own_order_and_the_same_again() -> None:
    order = draw_order(seed=0, epoch=1, size=1000)
    assert np.array_equal(np.sort(order), np.arange(1000))
    assert np.array_equal(order, draw_order(seed=0, epoch=1, size=1000))
    assert not np.array_equal(order, draw_order(seed=0, epoch=2, size=1000))
    assert not np.array_equal(order, draw_order(seed=1, epoch=1, size=1000))


def test_streams_and_layers_do_not_share_draws() -> None:
    seeds = [derive_init_seed(seed, layer) for seed in range(20) for layer in range(20)]
    assert len(set(seeds)) == 400


def test_dropout_draws_depend_on_seed_and_epoch_and_not_on_what_came_before() -> None:
    network = build_network(find_variant("conv2_3x3_reg"), seed=0)
    images = np.ones((4, 28, 28, 1), np.float32)

    def draw(seed: int, epoch: int) -> np.ndarray:
        set_dropout_state(network, seed, epoch)
        return np.asarray(network(images, training=True))

    first = draw(0, 1)
    assert not np.array_equal(first, np.asarray(network(images, training=True)))
    assert np.array_equal(first, draw(0, 1))
    assert not np.array_equal(first, draw(0, 2))
    assert not np.array_equal(first, draw(1, 1))
