from __future__ import annotations

import gzip
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.formats import _ArrayUnpickler, read_path
from pipeline.errors import DataError
from tests.conftest import SUBSET

NAMES = {"x_train": "train-images", "y_train": "train-labels", "x_test": "t10k-images", "y_test": "t10k-labels"}


def write_idx(folder: Path, *, compress: bool, mark: str = "-") -> None:
    folder.mkdir()
    for name, array in read_path(SUBSET):
        header = struct.pack(f">{array.ndim + 1}I", 0x0800 + array.ndim, *array.shape)
        content = header + array.tobytes()
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


def craft_header(path: Path, shape: tuple[int, ...], dtype: str = "|u1") -> Path:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": dtype})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", stream.getvalue())
    return path


@pytest.mark.parametrize(
    ("name", "make", "complaint"),
    [
        ("text", lambda path: path.write_bytes(b"<html>not found</html>"), "File is not a zip file"),
        ("cut", lambda path: path.write_bytes(SUBSET.read_bytes()[:200_000]), "File is not a zip file"),
        ("empty", lambda path: path.write_bytes(b""), "File is not a zip file"),
        ("shape bomb", lambda path: craft_header(path, (2**40, 28, 28)), "is not (N, 28, 28)"),
        ("side", lambda path: craft_header(path, (10, 32, 32)), "is not (N, 28, 28)"),
        ("short", lambda path: craft_header(path, (10, 28, 28)), "0 of 7,840 bytes"),
        ("floats", lambda path: craft_header(path, (10, 28, 28), "<f4"), "holds float32"),
        ("pickle", lambda path: write_npz(path, x_train=np.array([Bomb()], dtype=object)), "holds object"),
        ("labels", lambda path: write_npz(path, y_test=np.full(500, 10, np.uint8)), "labels outside 0..9"),
        ("count", lambda path: write_npz(path, y_test=np.zeros(499, np.uint8)), "differ in number"),
        ("none", lambda path: write_npz(path, y_test=np.zeros(0, np.uint8)), "is empty"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: Callable[[Path], object], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data.npz"
    make(path)
    with pytest.raises(DataError) as caught:
        read_path(path)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


def test_any_flipped_byte_of_the_pixels_is_noticed(tmp_path: Path) -> None:
    content = bytearray(SUBSET.read_bytes())
    content[100_000] ^= 1
    path = tmp_path / "flipped.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read_path(path)


@pytest.mark.parametrize(
    ("victim", "content", "complaint"),
    [
        ("t10k-labels-idx1-ubyte", None, "no t10k-labels-idx1-ubyte"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\x03", "does not begin as an IDX file of 1 dimensions"),
        ("t10k-labels-idx1-ubyte", b"", "unpack requires"),
        ("t10k-images-idx3-ubyte", struct.pack(">4I", 0x803, 500, 28, 28) + b"123", "3 of 392,000 bytes"),
        ("t10k-images-idx3-ubyte", struct.pack(">4I", 0x803, 2**31, 28, 28), "is not (N, 28, 28)"),
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
    with pytest.raises(DataError, match=r"name a Keras-style .npz file or a folder with the four IDX files"):
        read_path(tmp_path / "nowhere")


def test_the_unpickler_admits_arrays_and_nothing_else() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    old_names = pickle.dumps(array, protocol=3).replace(b"numpy._core", b"numpy.core")
    assert np.array_equal(_ArrayUnpickler(io.BytesIO(old_names), encoding="latin1").load(), array)
    with pytest.raises(pickle.UnpicklingError, match="is not admitted"):
        _ArrayUnpickler(io.BytesIO(pickle.dumps(Bomb())), encoding="latin1").load()
