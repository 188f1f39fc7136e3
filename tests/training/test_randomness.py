from __future__ import annotations

import numpy as np

from pipeline.training.randomness import derive_init_seed, draw_dropout_seeds, draw_order


def test_every_epoch_and_seed_has_its_own_order_and_the_same_again() -> None:
    order = draw_order(seed=0, epoch=1, size=1000)
    assert np.array_equal(np.sort(order), np.arange(1000))
    assert np.array_equal(order, draw_order(seed=0, epoch=1, size=1000))
    assert not np.array_equal(order, draw_order(seed=0, epoch=2, size=1000))
    assert not np.array_equal(order, draw_order(seed=1, epoch=1, size=1000))


def test_streams_and_layers_do_not_share_draws() -> None:
    seeds = [derive_init_seed(seed, layer) for seed in range(20) for layer in range(20)]
    assert len(set(seeds)) == 400


def test_dropout_seeds_depend_on_seed_epoch_and_layer() -> None:
    first = draw_dropout_seeds(seed=0, epoch=1, layers=3)
    assert (first.dtype, first.shape) == (np.int32, (3, 2))
    assert np.array_equal(first, draw_dropout_seeds(seed=0, epoch=1, layers=3))
    others = [draw_dropout_seeds(seed, epoch, layers=3) for seed, epoch in ((0, 2), (1, 1))]
    assert len(np.unique(np.concatenate([first, *others]), axis=0)) == 9
    assert draw_dropout_seeds(seed=0, epoch=1, layers=0).shape == (0, 2)
