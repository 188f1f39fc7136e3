from __future__ import annotations

import gzip
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.formats import _ArrayUnpickler, read_path
from pipeline.errors import DataError
from tests.conftest import SUBSET
from tests.made import encode_idx

NAMES = {"x_train": "train-images", "y_train": "train-labels", "x_test": "t10k-images", "y_test": "t10k-labels"}


def write_idx(folder: Path, *, compress: bool, mark: str = "-") -> None:
    folder.mkdir()
    for name, array in read_path(SUBSET):
        content = encode_idx(array)
        path = folder / f"{NAMES[name]}{mark}idx{array.ndim}-ubyte{'.gz' if compress else ''}"
        path.write_bytes(gzip.compress(content) if compress else content)


def write_npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **{**dict(read_path(SUBSET)), **arrays})
    return path


@pytest.mark.parametrize(("compress", "mark"), [(True, "-"), (False, "-"), (False, ".")])
def test_idx_files_hold_what_the_npz_holds(tmp_path: Path, compress: bool, mark: str) -> None:
    write_idx(tmp_path / "idx", compress=compress, mark=mark)
    assert read_path(tmp_path / "idx").hash_arrays() == read_path(SUBSET).hash_arrays()


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        import os

        return os.system, ("touch executed",)


def craft(path: Path, shape: tuple[int, ...]) -> Path:
    """Four headers of bytes, and nothing behind them."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": "|u1"})
    with zipfile.ZipFile(path, "w") as archive:
        for name in NAMES:
            archive.writestr(f"{name}.npy", stream.getvalue())
    return path


PICKLE = "is a Python pickle, which may run programs"
BAD_CONTENTS: dict[str, tuple[bytes, str]] = {
    "a web page": (b"<html>not found</html>", "is a web page, not the file that it was"),
    "an LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "Parquet": (b"PAR1" + bytes(99), "is a Parquet file; read it with pandas.read_parquet"),
    "MATLAB": (b"MATLAB 5.0 MAT-file" + bytes(99), "is a MATLAB file; read it with scipy.io"),
    "a pickle": (pickle.dumps({"x": 1}), PICKLE),
    "a zipped pickle": (gzip.compress(pickle.dumps({})), PICKLE),
    "something": (b"seven", "is not an image set (it begins with b'seven'); name an .npz"),
    "cut": (SUBSET.read_bytes()[:200_000], "is damaged or not an image set (File is not a zip file); fetch it again"),
    "empty": (b"", "is empty; fetch it again"),
    "one of four": (struct.pack(">4I", 0x803, 1, 28, 28), "is one array of several"),
    "a bad table": (b"label,p\n1,2,3\n4\n", "has shape"),
}
BAD_SHAPES: dict[str, tuple[tuple[int, ...], str]] = {
    "shape bomb": ((2**40, 28, 28), "GiB to train on, and this machine has"),
    "short": ((10, 28, 28), "damaged or not an image set (x_train.npy: 0 of 7,840 bytes"),
    "small": (
        (10, 7, 30),
        "x_train has shape (10, 7, 30); wanted are images of one size from 8x8 to 256x256, so scale",
    ),
    "large": ((10, 28, 257), "x_train has shape (10, 28, 257); wanted are images of one"),
    "five axes": ((10, 28, 28, 3, 1), "(10, 28, 28, 3, 1), not (N, height, width) or (N"),
    "flat and no square": ((10, 785), "has shape (10, 785), not (N, height, width) or (N"),
    "less than nothing": ((-1, 28, 28), "x_train.npy has the shape (-1, 28, 28)"),
}
ONE_SIZE = "give both in one size and colour"
NEEDED = "2 to 1,000 are needed"
BAD_ARRAYS: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "side": (
        {"x_train": np.zeros((2000, 32, 32), np.uint8)},
        f"x_train holds 32x32 grey images and x_test 28x28 grey ones; {ONE_SIZE}",
    ),
    "colour": (
        {"x_test": np.zeros((500, 28, 28, 3), np.uint8)},
        f"x_train holds 28x28 grey images and x_test 28x28 colour ones; {ONE_SIZE}",
    ),
    "flat colour": (
        {"x_train": np.zeros((2000, 3072), np.uint8)},
        "may come first or last; give images.reshape(-1, 3, 32, 32) or images.reshape(-1, 32, 32, 3)",
    ),
    "transparent": (
        {"x_train": np.zeros((2000, 32, 32, 4), np.uint8)},
        "x_train has shape (2000, 32, 32, 4); 4 channels are not read, give 3: images[..., :3], or 1",
    ),
    "wide floats": ({"x_test": np.full((9, 28, 28), -1.5)}, "x_test has values from -1.5 to -1.5"),
    "code": ({"x_train": np.array([Bomb()], dtype=object)}, "x_train.npy holds object, which may run"),
    "labels": (
        {"y_test": np.full(500, 10, np.uint8)},
        "y_test has the class 10, which y_train has not; give training images of it, or drop it",
    ),
    "letters": (
        {"y_test": np.array(["a"] * 500)},
        "the labels are numbers in one part and names in the other; give both alike",
    ),
    "bytes": ({"y_test": np.array([b"a"] * 500)}, "y_test holds |S1; give classes as whole"),
    "negative": ({"y_test": np.full(500, -1)}, "y_test has labels from -1 to -1; number the classes from 0"),
    "one class": (
        {"y_train": np.zeros(2000, int), "y_test": np.zeros(500, int)},
        f"the labels name 1 class (0); {NEEDED}",
    ),
    "too many classes": (
        {"y_train": np.arange(2000), "y_test": np.arange(500)},
        f"the labels name 2,000 classes (0, 1, 2, 3, 4 and 1,995 more); {NEEDED}",
    ),
    "a name with a control": (
        {"y_train": np.array(["a", "\x1b[2J"] * 1000), "y_test": np.array(["a"] * 500)},
        '"\\x1b[2J" cannot name a class; give 1 to 60 printable characters',
    ),
    "count": ({"y_test": np.zeros(499, np.uint8)}, "x_test holds 500 images and y_test 499 labels"),
    "none": ({"y_test": np.zeros(0, np.uint8)}, "y_test is empty"),
    "two keys": ({"X_train": np.zeros(1)}, "x_train.npy and X_train.npy for x_train; keep one"),
}
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "PyTorch": (lambda path: write_torch(path), "is a PyTorch file, which may run programs"),
    "other keys": (lambda path: np.savez(path, a=1, b=2), "holds a, b; x_train, y_train, x_test and y_test are wanted"),
    **{name: (partial(Path.write_bytes, data=content), said) for name, (content, said) in BAD_CONTENTS.items()},
    **{name: (partial(craft, shape=shape), said) for name, (shape, said) in BAD_SHAPES.items()},
    **{name: (partial(write_npz, **arrays), said) for name, (arrays, said) in BAD_ARRAYS.items()},
}


def write_torch(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    make, complaint = BAD[name]
    path = tmp_path / "data.npz"
    make(path)
    with pytest.raises(DataError) as caught:
        read_path(path)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("victim", "content", "complaint"),
    [
        ("t10k-labels-idx1-ubyte", None, "no file for y_test, such as t10k-labels-idx1-ubyte"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\x03", "unpack requires"),
        ("t10k-labels-idx1-ubyte", b"", "t10k-labels-idx1-ubyte does not begin as an IDX file"),
        ("t10k-images-idx3-ubyte", struct.pack(">4I", 0x803, 500, 28, 28) + b"123", "3 of 392,000 bytes"),
        ("t10k-images-idx3-ubyte", struct.pack(">4I", 0x803, 2**31, 28, 28), "GiB to train on, and this machine has"),
    ],
)
def test_a_bad_idx_folder_is_refused(tmp_path: Path, victim: str, content: bytes | None, complaint: str) -> None:
    write_idx(tmp_path / "idx", compress=False)
    path = tmp_path / "idx" / victim
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_path(tmp_path / "idx")
    assert complaint in str(caught.value)


def test_a_missing_path_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"name an .npz or CSV file, or a folder"):
        read_path(tmp_path / "nowhere")


def test_the_unpickler_admits_arrays_and_nothing_else() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    old_names = pickle.dumps(array, protocol=3).replace(b"numpy._core", b"numpy.core")
    assert np.array_equal(_ArrayUnpickler(io.BytesIO(old_names), encoding="latin1").load(), array)
    with pytest.raises(pickle.UnpicklingError, match="is not admitted"):
        _ArrayUnpickler(io.BytesIO(pickle.dumps(Bomb())), encoding="latin1").load()
