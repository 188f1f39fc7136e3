"""Data sets by the name that --data gives them: MNIST and Fashion-MNIST; whatever else it says is a path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from pipeline.data.formats import ImageSet, read_idx_folder
from pipeline.data.mnist import Dataset, load_mnist
from pipeline.data.sources import KnownSet, cache_path, download, find_known
from pipeline.errors import DataError

FASHION = "fashion-mnist"
MEANT = {"mnist": "auto", "auto": "auto", FASHION: FASHION, "fashionmnist": FASHION, "fashion": FASHION}
FASHION_SHA256 = {
    "x_train": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
    "y_train": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    "x_test": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
    "y_test": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
}
"""sha256 of Fashion-MNIST's arrays (uint8, C order), taken from Debian's package."""

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
KERAS_FOLDER = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
IDX_FILES = tuple(f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
REMEDY = (
    "install Debian's or Ubuntu's package dataset-fashion-mnist, or name a folder with the four IDX files of "
    "github.com/zalandoresearch/fashion-mnist by --data"
)


def load_data(data: str = "auto", *, subset: int = 0, normalization: str = "l2") -> Dataset:
    """The data set that `data` names, verified and normalised: "auto", "fashion-mnist" or a path.

    `subset` and `normalization` as load_mnist has them. Raises DataError.
    """
    if (meant := MEANT.get(data.lower().replace("_", "-"))) not in (None, data) and not Path(data).exists():
        raise DataError(f'{data} does not exist; did you mean "{meant}"?')
    if data != FASHION:
        return load_mnist(data, subset=subset, normalization=normalization)
    cache = cache_path().with_name(f"{FASHION}.npz")
    sources = {"Debian's package": read_debian_folder, "Keras's archive": fetch_keras_folder}
    known = KnownSet(name="Fashion-MNIST", cache=cache, sha256=FASHION_SHA256, sources=sources, remedy=REMEDY)
    _, source = find_known(known)
    dataset = load_mnist(str(cache), subset=subset, normalization=normalization)
    return replace(dataset, name=f"{FASHION}-{subset}" if subset else FASHION, source=source)


def shows_digits(name: str) -> bool:
    """Whether the data set of this name (Dataset.name) shows digits; one that is known by its path alone may."""
    return not name.startswith(FASHION)


def read_debian_folder(_folder: Path, _console: Console) -> ImageSet:
    """Fashion-MNIST as Debian's package dataset-fashion-mnist installs it."""
    return read_idx_folder(DEBIAN_FOLDER)


def fetch_keras_folder(folder: Path, console: Console) -> ImageSet:
    """Fashion-MNIST from the four files that `keras.datasets.fashion_mnist` uses."""
    for name in IDX_FILES:
        download(KERAS_FOLDER + name, folder / name, console)
    return read_idx_folder(folder)
