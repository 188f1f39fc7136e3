from __future__ import annotations

import numpy as np

from pipeline.data.formats import read_path
from pipeline.data.likeness import SAMPLE, draw_sample, measure_likeness
from tests.conftest import SUBSET


def test_digits_are_like_digits_and_turned_ones_are_not() -> None:
    images = read_path(SUBSET)
    sample = draw_sample(images)
    assert len(sample.images) == SAMPLE
    usual = measure_likeness(images.x_test, sample.images) >= sample.usual
    assert 0.97 <= usual.mean() < 1
    turned = np.rot90(images.x_test, axes=(1, 2))
    assert (measure_likeness(turned, sample.images) < sample.usual).mean() > 0.6


def test_an_image_of_the_sample_is_like_itself_whatever_its_shape() -> None:
    colours = np.random.default_rng(0).integers(0, 255, (20, 16, 16, 3), np.uint8)
    sample = draw_sample(type(read_path(SUBSET))(x_train=colours, y_train=None, x_test=colours, y_test=None))
    assert np.allclose(measure_likeness(colours[:5], sample.images), 1)
    assert measure_likeness(np.zeros_like(colours[:1]), sample.images)[0] == 0
