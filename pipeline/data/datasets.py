"""The data of a training, by the name that --data gives them or a path: found, verified, cut and normalised."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.arrays import Array, ImageSet
from pipeline.data.fetch import KNOWN, find_known, is_mnist
from pipeline.data.formats import ABSENT, describe_path
from pipeline.errors import DataError
from pipeline.images import AUTO, FASHION, MNIST, Images
from pipeline.plain import escape_controls
from pipeline.private import expand_home, is_there

MIXED = 0.1  # the largest share of images whose edge differs from that of most, where they have a common ground
TRAIN_PER_TEST = 6  # MNIST's own proportion: 60,000 to 10,000
MEANT = {"mnist": AUTO, AUTO: AUTO, FASHION: FASHION, "fashionmnist": FASHION, "fashion": FASHION}
"""What those mean who write a known set in another way."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What a training sees.

    `x_*` are float32 (N, H, W, C) and normalised, `raw` holds the same images as uint8 with their labels.
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
    def images(self) -> Images:
        """What the images are."""
        return self.raw.images

    @property
    def ink(self) -> str:
        """What the training images look like: "light" on dark ground as MNIST's are, "dark", or "none" (find_ink)."""
        return find_ink(self.raw.x_train)

    @property
    def y_train(self) -> Array:
        """Training labels (N,), uint8, or int32 of more than 256 classes."""
        return self.raw.y_train

    @property
    def y_test(self) -> Array:
        """Test labels (N,), uint8, or int32 of more than 256 classes."""
        return self.raw.y_test


def check_name(data: str) -> None:
    """Raise DataError for data that are neither a known set nor a path that is there; reads nothing."""
    if (meant := MEANT.get(data.lower().replace("_", "-"))) not in (None, data) and not is_there(Path(data)):
        raise DataError(f'{data} does not exist; did you mean "{meant}"?')
    if data not in KNOWN and not is_there(expand_home(data)):
        raise DataError(ABSENT.format(path=expand_home(data)))


def load_data(data: str = AUTO, *, subset: int = 0, normalization: str = "l2") -> Dataset:
    """The data set that `data` names, verified and normalised.

    `data` is "auto" for MNIST or "fashion-mnist", from the cache or the network, else the path of a file or a folder.
    `subset` keeps that many training images and a sixth as many test images, stratified; 0 keeps all.
    Raises DataError.
    """
    check_name(data)
    notes: tuple[str, ...] = ()
    if known := KNOWN.get(data):
        name, (images, source) = known.name, find_known(known)
    else:
        (images, notes), source = describe_path(expand_home(data)), data
        name = "mnist" if is_mnist(images) else f"data-{hash_images(images)[:12]}"
    if subset:
        images = take_subset(images, subset)
        name = f"{name}-{subset}"
    return Dataset(
        name=name,
        source=source,
        sha256=hash_images(images),
        normalization=normalization,
        raw=images,
        notes=tuple(map(escape_controls, notes)),
        x_train=normalise(images.x_train, normalization),
        x_test=normalise(images.x_test, normalization),
    )


def hash_images(images: ImageSet) -> str:
    """One sha256 over the four arrays' own, in a fixed order, and over how they are read where not as MNIST's are."""
    lines = "".join(f"{name} {digest}\n" for name, digest in images.hash_arrays().items())
    form, known = ((each.shape, len(each.classes)) for each in (images.images, MNIST))
    if form != known:
        lines += f"images {form}\n"
    return hashlib.sha256(lines.encode()).hexdigest()


def find_ink(images: Array) -> str:
    """The ink of images, uint8 (N, H, W): "dark" where their outermost pixels are mostly light, else "light".

    "none" for those without a common ground: in colour, or where a tenth of them have another edge than most.
    """
    if images.ndim == 4:
        return "none"
    sides = (images[:, (0, -1)], images[:, :, (0, -1)])
    edges = np.concatenate([side.reshape(len(images), -1) for side in sides], axis=1)
    if MIXED < (np.median(edges, axis=1) > 127).mean() < 1 - MIXED:
        return "none"
    return "dark" if np.median(edges) > 127 else "light"


def take_subset(images: ImageSet, size: int) -> ImageSet:
    """`size` training and `size // 6` test images, each class in its share, the first of each; raises DataError."""
    if not TRAIN_PER_TEST * 10 <= size <= len(images.x_train):
        raise DataError(
            f"subset {size} is not between 60 and the {len(images.x_train):,} training images; choose another"
        )
    places = {
        "train": stratify(images.y_train, size),
        "test": stratify(images.y_test, min(size // TRAIN_PER_TEST, len(images.y_test))),
    }
    parts = {name: array[places[name.partition("_")[2]]] for name, array in images}
    return ImageSet(**parts, classes=images.classes)


def stratify(labels: Array, size: int) -> Array:
    """Indices, ascending, of `size` labels in which every class keeps its share to within one (largest remainder)."""
    counts = np.bincount(labels)
    shares = counts * size / len(labels)
    quotas = np.floor(shares).astype(int)
    by_remainder = np.argsort(quotas - shares, kind="stable")
    quotas[by_remainder[: size - quotas.sum()]] += 1
    chosen = [np.flatnonzero(labels == digit)[:quota] for digit, quota in enumerate(quotas)]
    return np.sort(np.concatenate(chosen))


def normalise(images: Array, normalization: str) -> Array:
    """float32 (N, H, W, C) from uint8 (N, H, W), C is 1, or (N, H, W, C).

    "l2" divides by the L2 norm along axis 1, as `keras.utils.normalize(x, axis=1)` does; "scale" divides by 255.
    """
    number, height, width, channels = (*images.shape, 1)[:4]
    values = images.reshape(number, height, width * channels).astype(np.float32)
    if normalization == "l2":
        norms = np.sqrt(np.einsum("nij,nij->nj", values, values))[:, np.newaxis, :]
        values /= np.where(norms == 0, np.float32(1), norms)
    else:
        values /= np.float32(255)
    return values.reshape(number, height, width, channels)


def shows_digits(name: str, images: Images = MNIST) -> bool:
    """Whether the data set of this name (Dataset.name) shows digits; one that is known by its path alone may."""
    return images == MNIST and not name.startswith(FASHION)
