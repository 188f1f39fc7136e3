"""Write photographs.npz beside this file: patches of five colour photographs that come with scikit-image.

A class is a photograph: a cat, a cup, an astronaut, a motorcycle, tissue under a microscope. Training patches are cut
from the left of it and test patches from the right, with a strip between them, so no pixel is in both. That is real
colour without a network, and no more: five photographs stand for nothing but themselves.

    python experiments/photographs.py && python -m pipeline data --data experiments/photographs.npz
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from skimage import data

SIDE = 32
TRAIN, TEST = 200, 50  # patches of each photograph
LEFT = 0.6  # of a photograph's width is for training
NAMES = {
    "astronaut": data.astronaut,
    "cat": data.chelsea,
    "coffee": data.coffee,
    "motorcycle": lambda: data.stereo_motorcycle()[0],
    "tissue": data.immunohistochemistry,
}


def cut_patches(photograph: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """So many patches of a photograph, uint8 (N, 32, 32, 3), from anywhere in it."""
    tops, lefts = (rng.integers(0, length - SIDE + 1, number) for length in photograph.shape[:2])
    return np.stack([photograph[top : top + SIDE, left : left + SIDE] for top, left in zip(tops, lefts, strict=True)])


def main() -> None:
    """Cut, and write."""
    rng = np.random.default_rng(0)
    parts: dict[str, list[np.ndarray]] = {"x_train": [], "x_test": []}
    for read in NAMES.values():
        photograph = np.asarray(read(), np.uint8)
        border = round(LEFT * photograph.shape[1])
        parts["x_train"].append(cut_patches(photograph[:, :border], TRAIN, rng))
        parts["x_test"].append(cut_patches(photograph[:, border + SIDE :], TEST, rng))
    labels = {f"y_{when}": np.repeat(list(NAMES), number) for when, number in (("train", TRAIN), ("test", TEST))}
    images = {name: np.concatenate(patches) for name, patches in parts.items()}
    np.savez_compressed(Path(__file__).with_name("photographs.npz"), **images, **labels)


if __name__ == "__main__":
    main()
