"""What people have, and the one right reading of it: every form gives the same images, and says what was done."""

from __future__ import annotations

import gzip
import shutil
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.data.datasets import load_data
from pipeline.data.formats import describe_path
from pipeline.errors import DataError
from tests.conftest import SUBSET, succeed
from tests.made import encode_idx

with np.load(SUBSET) as subset:
    ARRAYS = {name: array[:300] for name, array in subset.items()}
X, Y = ARRAYS["x_train"], ARRAYS["y_train"]
Arrays = Mapping[str, np.ndarray]


def write_npz(folder: Path, **changed: np.ndarray) -> Path:
    np.savez(folder / "data.npz", **{**ARRAYS, **changed})
    return folder / "data.npz"


def rename(folder: Path, names: Mapping[str, str]) -> Path:
    np.savez(folder / "data.npz", **{names[name]: array for name, array in ARRAYS.items()})
    return folder / "data.npz"


def write_idx(path: Path, array: np.ndarray, packed: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(encode_idx(array)) if packed else encode_idx(array))


def write_four(folder: Path, names: str, packed: bool = False) -> Path:
    for name, file in zip(ARRAYS, names.split(), strict=True):
        write_idx(folder / file, ARRAYS[name], packed)
    return folder


def write_torchvision(folder: Path) -> Path:
    """As torchvision leaves it: both, the packed and the unpacked files."""
    raw = folder / "MNIST" / "raw"
    write_four(raw, "train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte")
    for file in list(raw.iterdir()):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    return folder


def write_emnist(folder: Path) -> Path:
    for name, when in (("x_train", "train"), ("x_test", "test")):
        turned = ARRAYS[name].transpose(0, 2, 1)
        write_idx(folder / f"emnist-digits-{when}-images-idx3-ubyte.gz", turned, packed=True)
        write_idx(folder / f"emnist-digits-{when}-labels-idx1-ubyte.gz", ARRAYS[name.replace("x", "y")], packed=True)
    return folder


def write_qmnist(folder: Path) -> Path:
    for name, when in (("x_train", "train"), ("x_test", "test")):
        write_idx(folder / f"qmnist-{when}-images-idx3-ubyte.gz", ARRAYS[name], packed=True)
        labels = np.zeros((300, 8), ">i4")
        labels[:, 0] = ARRAYS[name.replace("x", "y")]
        labels[:, 1:] = 77
        content = struct.pack(">3I", 0x0C02, 300, 8) + labels.tobytes()
        (folder / f"qmnist-{when}-labels-idx2-int.gz").write_bytes(gzip.compress(content))
    return folder


def write_kmnist(folder: Path) -> Path:
    names = {"x_train": "train-imgs", "y_train": "train-labels", "x_test": "test-imgs", "y_test": "test-labels"}
    for name, file in names.items():
        np.savez_compressed(folder / f"kmnist-{file}.npz", ARRAYS[name])
    return folder


def write_npy(folder: Path) -> Path:
    for name, array in ARRAYS.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def write_tables(folder: Path) -> Path:
    for when in ("train", "test"):
        table = pd.DataFrame(ARRAYS[f"x_{when}"].reshape(300, -1)).add_prefix("pixel")
        table.insert(0, "label", ARRAYS[f"y_{when}"])
        table.to_csv(folder / f"mnist_{when}.csv", index=False)
    return folder


def write_headless(folder: Path) -> Path:
    write_tables(folder)
    for when in ("train", "test"):
        path = folder / f"mnist_{when}.csv"
        pd.read_csv(path).to_csv(path, index=False, header=False)
    return folder


def write_pictures(folder: Path) -> Path:
    """In the order of their classes, which is that of the folders' names."""
    for when in ("train", "test"):
        for place, (image, label) in enumerate(zip(ARRAYS[f"x_{when}"], ARRAYS[f"y_{when}"], strict=True)):
            (folder / when / str(label)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / when / str(label) / f"{place:04}.png")
    return folder


PAPER = "train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte"
KAGGLE = "train-images.idx3-ubyte train-labels.idx1-ubyte t10k-images.idx3-ubyte t10k-labels.idx1-ubyte"
MEDMNIST = {"x_train": "train_images", "y_train": "train_labels", "x_test": "test_images", "y_test": "test_labels"}
READ: dict[str, tuple[Callable[[Path], Path], str]] = {
    "Keras": (write_npz, ""),
    "MedMNIST's keys": (lambda folder: rename(folder, MEDMNIST), ""),
    "capital X": (lambda folder: rename(folder, {name: name.replace("x_", "X_") for name in ARRAYS}), ""),
    "Fortran's order": (lambda folder: write_npz(folder, x_train=np.asfortranarray(X)), ""),
    "labels (N, 1)": (
        lambda folder: write_npz(folder, y_train=Y[:, None]),
        "y_train: (300, 1) read as labels.squeeze()",
    ),
    "one-hot": (
        lambda folder: write_npz(folder, y_train=np.eye(10)[Y]),
        "y_train: one-hot (300, 10) read as labels.argmax(1)",
    ),
    "flat": (lambda folder: write_npz(folder, x_train=X.reshape(300, -1)), "x_train: (300, 784) read as (300, 28, 28)"),
    "channel first": (
        lambda folder: write_npz(folder, x_train=X[:, None]),
        "x_train: (300, 1, 28, 28) read as (300, 28, 28)",
    ),
    "channel last": (
        lambda folder: write_npz(folder, x_train=X[..., None]),
        "x_train: (300, 28, 28, 1) read as (300, 28, 28)",
    ),
    "0 to 1": (
        lambda folder: write_npz(folder, x_train=(X / 255).astype(np.float32)),
        "x_train: float32 from 0 to 1 read as (images * 255).round()",
    ),
    "int64": (
        lambda folder: write_npz(folder, x_train=X.astype(np.int64)),
        "x_train: int64 from 0 to 255 read as uint8",
    ),
    "floats 0 to 255": (
        lambda folder: write_npz(folder, x_train=X * 1.0),
        "x_train: float64 from 0 to 255 read as uint8",
    ),
    "an array more": (lambda folder: write_npz(folder, extra=Y), "not used: extra"),
    "IDX": (lambda folder: write_four(folder, PAPER), ""),
    "IDX as Kaggle has it": (lambda folder: write_four(folder, KAGGLE), ""),
    "gzip without its ending": (lambda folder: write_four(folder, PAPER, packed=True), ""),
    "the ending without gzip": (lambda folder: write_four(folder, PAPER.replace("ubyte", "ubyte.gz")), ""),
    "torchvision": (write_torchvision, ""),
    "EMNIST": (write_emnist, "EMNIST stores its images transposed; they were turned upright"),
    "QMNIST": (write_qmnist, ""),
    "KMNIST": (write_kmnist, ""),
    ".npy files": (write_npy, ""),
    "CSV": (write_tables, ""),
    "CSV without a head": (write_headless, ""),
}


@pytest.mark.parametrize("kind", READ)
def test_every_form_gives_the_same_images(tmp_path: Path, kind: str) -> None:
    write, note = READ[kind]
    images, notes = describe_path(write(tmp_path))
    for name, array in images:
        assert array.dtype == np.uint8
        assert np.array_equal(array, ARRAYS[name]), name
    assert notes == ((note,) if note else ())


def test_pictures_in_folders_are_read_class_by_class(tmp_path: Path) -> None:
    images, notes = describe_path(write_pictures(tmp_path))
    order = np.argsort(Y, kind="stable")
    assert np.array_equal(images.x_train, X[order])
    assert np.array_equal(images.y_train, Y[order])
    assert notes == ()
    Image.new("L", (32, 20)).save(tmp_path / "train" / "7" / "large.png")
    line = r"train/7/large.png is 32x20, and test/0/\d+.png 28x28; scale the pictures to one size"
    with pytest.raises(DataError, match=line):
        describe_path(tmp_path)


def test_pictures_of_more_than_8_bits_are_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    one = next((tmp_path / "train" / "7").iterdir())
    for mode, value, ending in (("I;16", 40_000, ".png"), ("F", 0.5, ".tiff")):
        deep = one.with_name(f"deep{ending}")
        Image.new(mode, (28, 28), value).save(deep)
        with pytest.raises(
            DataError, match=rf"train/7/deep{ending} has pixels with more than 8 bits \({mode}\); save the"
        ):
            describe_path(tmp_path)
        deep.unlink()


def test_a_picture_with_too_many_pixels_is_damage(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    file = tmp_path / "7" / "bomb.png"
    Image.new("L", (1, 1)).save(file)
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    content = file.read_bytes()
    file.write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    with pytest.raises(DataError, match="is damaged or not an image set"):
        describe_path(tmp_path)


@pytest.mark.parametrize(("ending", "between"), [("csv", ","), ("tsv", "\t")])
def test_a_table_that_numpy_wrote_loses_no_row(tmp_path: Path, ending: str, between: str) -> None:
    rows = np.column_stack([Y, X.reshape(len(X), -1)])
    np.savetxt(tmp_path / f"a.{ending}", rows, delimiter=between)
    images, _ = describe_path(tmp_path / f"a.{ending}")
    assert len(images.x_train) + len(images.x_test) == len(X)
    assert images.x_train.dtype == np.uint8


def test_a_set_without_a_test_part_loses_a_seventh_by_seed(tmp_path: Path) -> None:
    write_tables(tmp_path)
    unlabelled = pd.read_csv(tmp_path / "mnist_test.csv").drop(columns="label")
    unlabelled.to_csv(tmp_path / "mnist_test.csv", index=False)
    images, notes = describe_path(tmp_path)
    held = "no labelled test part: 42 of 300 images held out by seed 0"
    assert notes == ("mnist_test.csv has no labels and is not used", held)
    assert (len(images.x_train), len(images.x_test)) == (258, 42)
    alone, said = describe_path(tmp_path / "mnist_train.csv")
    assert said == (held,)
    assert alone.hash_arrays() == images.hash_arrays()
    np.savez(tmp_path / "xy.npz", x=X, y=Y)
    assert describe_path(tmp_path / "xy.npz")[0].hash_arrays() == images.hash_arrays()
    (tmp_path / "one").mkdir()
    shutil.copy(tmp_path / "mnist_train.csv", tmp_path / "one" / "test.csv")  # whatever it is called
    only = describe_path(tmp_path / "one")
    assert (only[0].hash_arrays(), only[1]) == (images.hash_arrays(), (held,))


@pytest.mark.parametrize("part", ["x_test", "y_test"])
def test_half_a_test_part_is_named(tmp_path: Path, part: str) -> None:
    np.savez(tmp_path / "half.npz", **{"x_train": X, "y_train": Y, part: X if part == "x_test" else Y})
    with pytest.raises(DataError, match=rf"half.npz holds x_train, y_train, {part}; x_train, y_train, x_test and "):
        describe_path(tmp_path / "half.npz")


def test_two_files_for_one_part_are_both_named(tmp_path: Path) -> None:
    write_four(tmp_path, PAPER)
    write_four(tmp_path / "old", PAPER)
    with pytest.raises(DataError) as caught:
        describe_path(tmp_path)
    assert "holds old/train-images-idx3-ubyte and train-images-idx3-ubyte for x_train; keep one" in str(caught.value)


def test_more_than_two_hundred_thousand_images_are_read(tmp_path: Path) -> None:
    many = np.zeros((240_000, 28, 28), np.uint8)
    path = write_npz(tmp_path, x_train=many, y_train=np.arange(240_000) % 10)
    assert len(describe_path(path)[0].x_train) == 240_000


def test_names_that_are_almost_right_and_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, meant in {"mnist": "auto", "MNIST": "auto", "fashion_mnist": "fashion-mnist"}.items():
        with pytest.raises(DataError, match=f'{name} does not exist; did you mean "{meant}"?'):
            load_data(name)
    monkeypatch.setenv("HOME", str(write_npz(tmp_path).parent))
    assert load_data("~/data.npz").raw.hash_arrays() == load_data(str(tmp_path / "data.npz")).raw.hash_arrays()


def test_the_command_says_what_it_found_and_what_is_odd(tmp_path: Path) -> None:
    path = write_npz(tmp_path, x_test=X[..., None], y_test=np.full((300, 1), 3))
    result = succeed("data", "--data", str(path))
    lines = result.stdout.splitlines()
    assert lines[0].endswith(": 300 training and 300 test images")
    assert lines[2] == "images: 28x28, grey, 0 to 255, ink light"
    assert lines[3] == "classes: 10"
    assert lines[4].startswith("training images by class: 0 ")
    assert lines[5:] == [
        "test images by class: 3 300",
        "x_test: (300, 28, 28, 1) read as (300, 28, 28)",
        "y_test: (300, 1) read as labels.squeeze()",
    ]
    assert result.stderr.splitlines() == [
        "Warning: 300 of 300 test images are training images too; test results flatter",
        "Warning: all test labels are 3; there is nothing to learn",
    ]
