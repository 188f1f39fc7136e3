from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from pipeline.data.datasets import normalise
from pipeline.images import LARGEST, MNIST, Images
from pipeline.study.variants import find_variant
from pipeline.training.network import accept_pixels, build_network, takes_pixels

TALL = Images(height=LARGEST, width=12, channels=3, classes=("a", "b", "c"))


@pytest.mark.parametrize("images", [MNIST, TALL], ids=["grey", "colour"])
@pytest.mark.parametrize("normalization", ["l2", "scale"])
def test_pixels_get_the_networks_own_answers_to_the_bit(tmp_path: Path, images: Images, normalization: str) -> None:
    """Also once the model was stored and read back in safe mode."""
    network = build_network(find_variant("conv2_3x3_reg"), seed=0, images=images)
    pixels = np.random.default_rng(0).integers(0, 256, (40, *images.raw_shape), np.uint8)
    pixels[0] = 255
    pixels[1] = 0
    expected = network.predict(normalise(pixels, normalization), verbose=0)
    served = accept_pixels(network, images, normalization)
    assert np.array_equal(served.predict(pixels, verbose=0), expected)
    served.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(again.predict(pixels, verbose=0), expected)
    assert expected.shape == (40, len(images.classes))
    assert takes_pixels(again)
    assert not takes_pixels(network)
