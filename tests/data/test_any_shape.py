"""Sets of other sizes, colours and classes than MNIST's."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

from pipeline.data.arrays import ImageSet
from pipeline.data.datasets import find_ink, hash_images, load_data, normalise, take_subset
from pipeline.data.formats import describe_path, read_path
from pipeline.errors import DataError
from pipeline.images import Images
from tests.conftest import SUBSET, call
from tests.made import LETTERS, THINGS, write_letters, write_things


def make(shape: tuple[int, ...], number: int = 12) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, (number, *shape), np.uint8)


def write(path: Path, images: np.ndarray, labels: object) -> Path:
    np.savez(path, x_train=images, y_train=np.array(labels), x_test=images[:6], y_test=np.array(labels)[:6])
    return path


LABELS = [0, 1, 2] * 4
READ: dict[str, tuple[Callable[[], np.ndarray], tuple[int, ...], str]] = {
    "grey": (lambda: make((8, 256)), (8, 256), ""),
    "grey, last axis": (lambda: make((9, 20, 1)), (9, 20), "x_train: (12, 9, 20, 1) read as (12, 9, 20)"),
    "grey, first axis": (lambda: make((1, 20, 9)), (20, 9), "x_train: (12, 1, 20, 9) read as (12, 20, 9)"),
    "flat": (lambda: make((64 * 64,)), (64, 64), "x_train: (12, 4096) read as (12, 64, 64)"),
    "colour": (lambda: make((32, 40, 3)), (32, 40, 3), ""),
    "colour, first axis": (
        lambda: make((3, 32, 40)),
        (32, 40, 3),
        "x_train: channels moved from first to last, (12, 32, 40, 3)",
    ),
}


@pytest.mark.parametrize("kind", READ)
def test_every_shape_with_one_meaning_is_read(tmp_path: Path, kind: str) -> None:
    build, shape, note = READ[kind]
    images = build()
    found, notes = describe_path(write(tmp_path / "a.npz", images, LABELS))
    assert found.x_train.shape == (12, *shape)
    moved = images.transpose(0, 2, 3, 1) if kind == "colour, first axis" else images.reshape(12, *shape)
    assert np.array_equal(found.x_train, moved)
    assert (notes[0] if notes else "") == note
    assert found.images.classes == ("0", "1", "2")


NAMED: dict[str, tuple[list[object], tuple[str, ...], list[int], str]] = {
    "numbers from 0": (LABELS, ("0", "1", "2"), LABELS, ""),
    "numbers with gaps": (
        [7, 3, 20] * 4,
        ("3", "7", "20"),
        [1, 0, 2] * 4,
        "labels 3 to 20 read as 3 classes of these names",
    ),
    "names": (["dog", "cat", "Käfer"] * 4, ("Käfer", "cat", "dog"), [2, 1, 0] * 4, ""),
    "numbers as texts": (["10", "9", "1"] * 4, ("1", "9", "10"), [2, 1, 0] * 4, ""),
    "two, as truth values": ([False, True, True] * 4, ("0", "1"), [0, 1, 1] * 4, ""),
}


@pytest.mark.parametrize("kind", NAMED)
def test_labels_become_places_in_the_classes_names(tmp_path: Path, kind: str) -> None:
    labels, classes, places, note = NAMED[kind]
    found, notes = describe_path(write(tmp_path / "a.npz", make((10, 10)), labels))
    assert found.classes == classes
    assert found.y_train.tolist() == places
    assert found.y_train.dtype == np.uint8
    assert (notes[0] if notes else "") == note


def test_a_thousand_classes_have_labels_of_more_than_a_byte(tmp_path: Path) -> None:
    found = read_path(write(tmp_path / "a.npz", make((8, 8), 1000), range(1000)))
    assert (len(found.classes), found.y_train.max(), found.y_train.dtype) == (1000, 999, np.int32)


def test_emnists_letters_are_upright_and_have_their_names(tmp_path: Path) -> None:
    found, notes = describe_path(write_letters(tmp_path / "letters"))
    assert found.images == Images(classes=tuple(f"{chr(65 + place)}/{chr(97 + place)}" for place in range(LETTERS)))
    assert notes == ("EMNIST stores its images transposed; they were turned upright",)
    assert found.y_train[:3].tolist() == [0, 1, 2]
    bar = found.x_train[found.y_train == found.classes.index("T/t")][0]
    assert bar.max(axis=0).astype(bool).sum() > 5  # the bar of a T lies above its stem
    assert (bar[: np.flatnonzero(bar.any(axis=1))[0] + 2] > 0).sum() > (bar[-14:] > 0).sum() / 2
    (tmp_path / "letters" / "emnist-letters-mapping.txt").unlink()
    unnamed, notes = describe_path(tmp_path / "letters")
    assert unnamed.classes == tuple(map(str, range(1, 27)))
    assert notes[1] == "labels 1 to 26 read as 26 classes of these names"
    assert hash_images(unnamed) == hash_images(found)


def test_pictures_in_colour_are_read_with_their_folders_names(tmp_path: Path) -> None:
    image = np.full((20, 30, 3), 90, np.uint8)
    for when in ("train", "test"):
        for name in ("red fox", "wolf"):
            (tmp_path / when / name).mkdir(parents=True)
            for place in range(3):
                Image.fromarray(image + place).save(tmp_path / when / name / f"{place}.png")
    grey = read_path(tmp_path)
    assert (grey.images.shape, grey.classes) == ((20, 30, 1), ("red fox", "wolf"))  # colour files without a colour
    Image.fromarray(image[..., 0]).save(tmp_path / "train" / "wolf" / "9.png")
    Image.fromarray(np.dstack([image[..., :2], image[..., :1] + 40])).save(tmp_path / "train" / "wolf" / "8.png")
    colour = read_path(tmp_path)
    assert colour.images == Images(height=20, width=30, channels=3, classes=("red fox", "wolf"))
    assert colour.y_train.tolist() == [0] * 3 + [1] * 5
    assert colour.x_train[6, 0, 0].tolist() == [90, 90, 130]
    assert colour.x_train[7, 0, 0].tolist() == [90, 90, 90]


def test_a_table_may_have_names_for_labels_and_any_square_images(tmp_path: Path) -> None:
    table = pd.DataFrame(make((64,), 30))
    table.insert(0, "first", ["no", "yes"] * 15)
    table.to_csv(tmp_path / "a.csv", index=False, header=False)
    found = read_path(tmp_path / "a.csv")
    assert (found.images.shape, found.classes, len(found.x_train) + len(found.x_test)) == ((8, 8, 1), ("no", "yes"), 30)


def test_colour_is_normalised_as_keras_does() -> None:
    images = make((9, 12, 3))
    images[:, :, 3] = 0
    expected = keras.utils.normalize(images.astype(np.float32), axis=1)
    np.testing.assert_allclose(normalise(images, "l2"), expected, rtol=1e-6)
    np.testing.assert_allclose(normalise(images, "scale") * 255, images, atol=1e-4)


def test_the_hash_tells_how_the_same_bytes_are_read() -> None:
    images, labels = make((8, 24)), np.array(LABELS, np.uint8)

    def hash_as(shape: tuple[int, ...], classes: tuple[str, ...] = ("a", "b", "c")) -> str:
        given = images.reshape(12, *shape)
        return hash_images(ImageSet(x_train=given, y_train=labels, x_test=given, y_test=labels, classes=classes))

    assert len({hash_as((8, 24)), hash_as((24, 8)), hash_as((8, 8, 3)), hash_as((8, 24), ("a", "b", "c", "d"))}) == 4
    assert hash_as((8, 24)) == hash_as((8, 24), ("x", "y", "z"))  # names shape no weight


def test_mnists_own_hash_is_what_it_was() -> None:
    digest = "bd5aa66b41f222125626148248f07ff82039b710219eb1e6f00e83fa42a3ba6d"
    assert hash_images(read_path(SUBSET)) == digest
    assert load_data(str(SUBSET)).images == Images()


def test_only_images_with_a_common_ground_have_an_ink() -> None:
    dark, light = np.zeros((10, 9, 9), np.uint8), np.full((10, 9, 9), 255, np.uint8)
    mixed = np.concatenate([dark[:5], light[:5]])
    inks = [find_ink(each) for each in (dark, light, mixed, np.repeat(dark[..., None], 3, -1))]
    assert inks == ["light", "dark", "none", "none"]


def test_a_subset_keeps_the_classes_names(tmp_path: Path) -> None:
    found = take_subset(read_path(write_things(tmp_path / "things.npz")), 60)
    assert (len(found.x_train), len(found.x_test), found.classes) == (60, 10, THINGS)


def test_no_set_is_read_that_memory_cannot_hold_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each array alone would fit; nothing is read, as the headers tell."""
    path = write(tmp_path / "a.npz", make((100, 100, 3), 100), list(range(10)) * 10)
    free = psutil.virtual_memory()._replace(available=100 * 100 * 100 * 3 * 9 + 5000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", refuse_much(zipfile.ZipExtFile.read))
    with pytest.raises(DataError, match=r"x_train has shape \(100, 100, 100, 3\), which with the other arrays takes 0"):
        read_path(path)


def refuse_much(read: Callable[..., bytes]) -> Callable[..., bytes]:
    def read_little(self: zipfile.ZipExtFile, size: int = -1) -> bytes:
        assert 0 <= size < 10_000, "a header is smaller"
        return read(self, size)

    return read_little


def test_a_large_side_is_refused_from_the_header(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(bytes([0, 0, 8, 3, *(0, 0, 0, 9)] + [0, 0, 2, 0] * 2))
    )
    for name in ("train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / f"{name}-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 0]))
    with pytest.raises(DataError, match=r"x_train has shape \(9, 512, 512\); wanted are images of one size from 8x8"):
        read_path(tmp_path)


def test_the_command_names_the_classes_and_warns(tmp_path: Path) -> None:
    images = make((10, 10, 3))
    images[1] = images[0]
    images[2:] = images[2:, :, :, :1]
    labels = ["cat", "dog", "eel"] * 4
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2])
    result = call("data", "--data", str(tmp_path / "a.npz"))
    assert result.stdout.splitlines()[2:] == [
        f"images: 10x10, colour, {images.min()} to {images.max()}",
        "classes: 3",
        "training images by class: cat 4, dog 4, eel 4",
        "test images by class: cat 1, dog 1",
    ]
    assert result.stderr.splitlines() == [
        "Warning: 2 of 2 test images are training images too; test results flatter",
        "Warning: 1 training images are there in more than one class; nobody can tell these apart",
        "Warning: the test set has no image of class eel",
    ]
