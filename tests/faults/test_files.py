"""Files that lie: data that are changed, or bombs."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np

from pipeline.data.formats import read_path
from pipeline.errors import DataError
from tests.conftest import SUBSET, run_python

NAMES = ("x_train", "y_train", "x_test", "y_test")
READ = """
import resource, sys
from pathlib import Path
from pipeline.data.formats import read_path
from pipeline.errors import DataError
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 150 * 2**20,) * 2)
for name in sys.argv[1:]:
    try:
        read_path(Path(name))
        print("read")
    except DataError as error:
        print(error)
"""
CHANGED = 97  # bytes of the file that are tried; a prime, so that they fall on no rhythm of it


def test_no_changed_byte_passes_for_the_data(tmp_path: Path) -> None:
    content, known = SUBSET.read_bytes(), read_path(SUBSET).hash_arrays()
    path = tmp_path / "changed.npz"
    places = {*range(0, len(content), len(content) // CHANGED), *range(64), *range(len(content) - 64, len(content))}
    refused = 0
    for place in places:
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        try:
            assert read_path(path).hash_arrays() == known, place  # a byte that says nothing, as a date
        except DataError:
            refused += 1
    assert refused > CHANGED * 0.9


def write_bombs(folder: Path) -> list[Path]:
    """Small files that promise or hold far more than 150 MiB."""
    promise, zeros, idx = folder / "promise.npz", folder / "zeros.npz", folder / "idx"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": (200_000, 28, 28), "fortran_order": False, "descr": "|u1"})
    with zipfile.ZipFile(promise, "w") as archive:
        for name in NAMES:
            archive.writestr(f"{name}.npy", header.getvalue().replace(b"200000", b"999999999"))
    with zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in NAMES:
            with archive.open(f"{name}.npy", "w") as member:
                member.write(header.getvalue().replace(b"(200000,", b"(   100,"))
                for _ in range(250):
                    member.write(bytes(2**20))
    idx.mkdir()
    (idx / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, 10, 28, 28) + bytes(7840))
    for name, number in (("train-labels-idx1-ubyte", 100), ("t10k-labels-idx1-ubyte", 10)):
        (idx / name).write_bytes(struct.pack(">2I", 0x801, number) + bytes(number))
    first = struct.pack(">4I", 0x803, 100, 28, 28)
    (idx / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(first) + gzip.compress(bytes(2**23), 1) * 100)
    return [promise, zeros, idx]


def test_a_bomb_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    bombs = write_bombs(tmp_path)
    done = run_python(tmp_path, "-c", READ, *map(str, bombs), str(SUBSET), OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "GiB to train on, and this machine has" in lines[0]
    assert all(" is damaged or not an image set (" in line for line in lines[1:3]), done.stdout
    assert lines[3:] == ["read"]
