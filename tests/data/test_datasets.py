from __future__ import annotations

import keras
import numpy as np
import pytest

from pipeline.data.datasets import load_data, normalise, stratify, take_subset
from pipeline.data.formats import read_path
from pipeline.errors import DataError
from tests.conftest import SUBSET


def test_a_file_is_named_by_its_contents_and_shaped_for_keras() -> None:
    dataset = load_data(str(SUBSET))
    assert dataset.name == f"data-{dataset.sha256[:12]}"
    assert dataset.x_train.shape == (2000, 28, 28, 1)
    assert dataset.x_test.shape == (500, 28, 28, 1)
    assert dataset.x_train.dtype == np.float32


def test_l2_is_what_keras_calls_normalize_along_axis_1() -> None:
    images = read_path(SUBSET).x_train
    ours = normalise(images, "l2")[..., 0]
    np.testing.assert_allclose(ours, keras.utils.normalize(images, axis=1), atol=1e-6)
    assert not np.isnan(ours).any()


def test_scale_divides_by_255() -> None:
    images = read_path(SUBSET).x_test
    np.testing.assert_allclose(normalise(images, "scale")[..., 0] * 255, images, atol=1e-4)


def test_a_subset_is_stratified_and_has_its_own_hash() -> None:
    whole = read_path(SUBSET)
    subset = take_subset(whole, 600)
    assert (len(subset.x_train), len(subset.x_test)) == (600, 100)
    share = np.bincount(whole.y_train) * 600 / 2000
    assert np.abs(np.bincount(subset.y_train) - share).max() < 1
    assert load_data(str(SUBSET), subset=600).sha256 != load_data(str(SUBSET)).sha256
    assert load_data(str(SUBSET), subset=600).name.endswith("-600")


@pytest.mark.parametrize("size", [60, 61, 599, 1999, 2000])
def test_stratify_keeps_the_number_and_the_order(size: int) -> None:
    labels = read_path(SUBSET).y_train
    chosen = stratify(labels, size)
    assert len(np.unique(chosen)) == size
    assert (np.diff(chosen) > 0).all()


@pytest.mark.parametrize("size", [1, 59, 2001])
def test_an_impossible_subset_is_refused(size: int) -> None:
    with pytest.raises(DataError, match=f"subset {size} is not between 60 and the 2,000 training images"):
        load_data(str(SUBSET), subset=size)
