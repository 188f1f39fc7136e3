"""The data of a training: found, verified, cut to a stratified subset and normalised."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.arrays import Array
from pipeline.data.formats import ImageSet, describe_path
from pipeline.data.sources import find_mnist, is_mnist
from pipeline.errors import DataError

TRAIN_PER_TEST = 6  # MNIST's own proportion: 60,000 to 10,000


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What a training sees.

    `x_*` are float32 (N, 28, 28, 1) and normalised, `raw` holds the same images as uint8 (N, 28, 28) with their labels.
    `sha256` covers the four raw arrays in use, so a subset has another one than the whole set. `notes` say what was
    done to the arrays of a file to read them, a sentence each.
    """

    name: str
    source: str
    sha256: str
    normalization: str
    raw: ImageSet
    x_train: Array
    x_test: Array
    notes: tuple[str, ...] = ()

    @property
    def ink(self) -> str:
        """What the training images look like: "light" on dark ground as MNIST's are, or "dark" on light ground."""
        return find_ink(self.raw.x_train)

    @property
    def y_train(self) -> Array:
        """Training labels, uint8 (N,)."""
        return self.raw.y_train

    @property
    def y_test(self) -> Array:
        """Test labels, uint8 (N,)."""
        return self.raw.y_test


def load_mnist(data: str = "auto", *, subset: int = 0, normalization: str = "l2") -> Dataset:
    """The data set named by `data`, verified and normalised.

    `data` is "auto" for MNIST from the cache or the network, else the path of a Keras-style .npz file or of a folder of
    IDX files. `subset` keeps that many training images and a sixth as many test images, stratified; 0 keeps all.
    Raises DataError.
    """
    notes: tuple[str, ...] = ()
    if data == "auto":
        images, source = find_mnist()
    else:
        (images, notes), source = describe_path(Path(data).expanduser()), data
    name = "mnist" if data == "auto" or is_mnist(images) else f"data-{hash_images(images)[:12]}"
    if subset:
        images = take_subset(images, subset)
        name = f"{name}-{subset}"
    return Dataset(
        name=name,
        source=source,
        sha256=hash_images(images),
        normalization=normalization,
        raw=images,
        notes=notes,
        x_train=normalise(images.x_train, normalization),
        x_test=normalise(images.x_test, normalization),
    )


def hash_images(images: ImageSet) -> str:
    """One sha256 over the four arrays' own, in a fixed order."""
    lines = "".join(f"{name} {digest}\n" for name, digest in images.hash_arrays().items())
    return hashlib.sha256(lines.encode()).hexdigest()


def find_ink(images: Array) -> str:
    """The ink of images, uint8 (N, H, W): "dark" where their outermost pixels are mostly light, else "light"."""
    edges = np.concatenate([images[:, (0, -1)].ravel(), images[:, :, (0, -1)].ravel()])
    return "dark" if np.median(edges) > 127 else "light"


def take_subset(images: ImageSet, size: int) -> ImageSet:
    """`size` training and `size // 6` test images, each class in its share, the first of each; raises DataError."""
    if not TRAIN_PER_TEST * 10 <= size <= len(images.x_train):
        raise DataError(
            f"subset {size} is not between 60 and the {len(images.x_train):,} training images; choose another"
        )
    train = stratify(images.y_train, size)
    test = stratify(images.y_test, min(size // TRAIN_PER_TEST, len(images.y_test)))
    return ImageSet(
        x_train=images.x_train[train],
        y_train=images.y_train[train],
        x_test=images.x_test[test],
        y_test=images.y_test[test],
    )


def stratify(labels: Array, size: int) -> Array:
    """Indices, ascending, of `size` labels in which every class keeps its share to within one (largest remainder)."""
    counts = np.bincount(labels, minlength=10)
    shares = counts * size / len(labels)
    quotas = np.floor(shares).astype(int)
    by_remainder = np.argsort(quotas - shares, kind="stable")
    quotas[by_remainder[: size - quotas.sum()]] += 1
    chosen = [np.flatnonzero(labels == digit)[:quota] for digit, quota in enumerate(quotas)]
    return np.sort(np.concatenate(chosen))


def normalise(images: Array, normalization: str) -> Array:
    """float32 (N, 28, 28, 1) from uint8 (N, 28, 28).

    "l2" divides by the L2 norm along axis 1, as `keras.utils.normalize(x, axis=1)` does; "scale" divides by 255.
    """
    values = images.astype(np.float32)
    if normalization == "l2":
        norms = np.sqrt(np.einsum("nij,nij->nj", values, values))[:, np.newaxis, :]
        values /= np.where(norms == 0, np.float32(1), norms)
    else:
        values /= np.float32(255)
    return values[..., np.newaxis]
