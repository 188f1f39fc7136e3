"""Arrays out of files, trusting nothing: headers are checked before data are read, and nothing is executed.

NumPy's .npz and .npy, IDX, CSV tables, and pictures in a folder for each class; what else a file is gets named.
"""

from __future__ import annotations

import gzip
import io
import math
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from pipeline.data.arrays import PARTS, SIDE, Array, Found, check_memory, name_part
from pipeline.errors import DataError

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
DEPTH = 3  # folders below the named one in which files are looked for
MOST_FILES = 1_000_000
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
TURN = 'np.savez("data.npz", x_train=..., y_train=..., x_test=..., y_test=...)'
STRANGERS = {
    b"\x89HDF": f"an HDF5 file (or MATLAB 7.3); read it with h5py and save it by {TURN}",
    b"MATLAB": f"a MATLAB file; read it with scipy.io.loadmat and save it by {TURN}",
    b"PAR1": f"a Parquet file; read it with pandas.read_parquet, decode its images and save them by {TURN}",
    b"\x80\x02": f"a Python pickle, which may run programs and is never opened; save it by {TURN}",
    b"\x80\x03": f"a Python pickle, which may run programs and is never opened; save it by {TURN}",
    b"\x80\x04": f"a Python pickle, which may run programs and is never opened; save it by {TURN}",
    b"\x80\x05": f"a Python pickle, which may run programs and is never opened; save it by {TURN}",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself; fetch it by `git lfs pull`",
    b"<": "a web page, not the file that it was to be; download it again, where need be after logging in",
}


def find_arrays(path: Path) -> Found:
    """What a file or a folder holds; raises DataError without the path, and what damaged files raise."""
    if path.is_dir():
        return _find_in_folder(path)
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError("is not a regular file; name an .npz or CSV file, or a folder")
    head = _read_head(path)
    if not head:
        raise DataError("is empty; fetch it again")
    if head.startswith(b"PK"):
        return read_archive(path)
    for start, kind in STRANGERS.items():
        if head.lstrip().startswith(start):
            raise DataError(f"is {kind}")
    if path.suffix.lower() in (".csv", ".tsv") or b"," in head:
        return Found(
            arrays={key: array for key, array in zip("xy", _read_table(path), strict=True) if array is not None}
        )
    if _is_array_file(head):
        raise DataError("is one array of several; name the folder with all four: images and labels, train and test")
    raise DataError(f"is not an image set (it begins with {head[:8]!r}); name an .npz or CSV file, or a folder")


def read_archive(source: Path | IO[bytes]) -> Found:
    """The arrays of an .npz archive under the names that people use, without pickle."""
    with zipfile.ZipFile(source) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        if any(name.endswith("data.pkl") for name in archive.namelist()):
            raise DataError(f"is a PyTorch file, which may run programs and is never opened; save it by {TURN}")
        parts: dict[str, list[str]] = {}
        for name in names:
            parts.setdefault(name_part(name.removesuffix(".npy")), []).append(name)
        used = {part: members for part, members in parts.items() if part in PARTS} or {
            part: members for part, members in parts.items() if part in ("x", "y")
        }
        if not {"x_train", "y_train"} <= set(used) and set(used) != {"x", "y"}:
            held = ", ".join(name.removesuffix(".npy") for name in names) or "no array"
            raise DataError(f"holds {held}; x_train, y_train, x_test and y_test are wanted")
        for part, members in used.items():
            if len(members) > 1:
                raise DataError(f"holds {' and '.join(members)} for {part}; keep one of them")
        arrays = {part: _read_member(archive, members[0]) for part, members in used.items()}
    other = sorted(name.removesuffix(".npy") for name in names if [name] not in used.values())
    return Found(arrays=arrays, notes=(f"not used: {', '.join(other)}",) if other else ())


def read_parts(folder: Path) -> Found | None:
    """The four IDX, .npy or one-array .npz files in a folder or below it; None where there is none of them."""
    found: dict[str, list[Path]] = {}
    for file in _walk(folder):
        part = name_part(file.name.split(".npy")[0].split(".npz")[0])
        if part in PARTS and file.suffix.lower() != ".csv" and _is_array_file(_read_head(file)):
            found.setdefault(part, []).append(file)
    if not found:
        return None
    notes = []
    for part in (part for part in PARTS if part in found):
        files = found[part]
        plain = [file for file in files if file.suffix != ".gz"]
        files[:] = plain if len(plain) == 1 and len({file.name.removesuffix(".gz") for file in files}) == 1 else files
        if len(files) > 1:
            names = " and ".join(str(file.relative_to(folder)) for file in sorted(files))
            raise DataError(f"holds {names} for {part}; keep one of them, or name a folder with one")
    if missing := [part for part in PARTS if part not in found]:
        there = ", ".join(files[0].name for files in found.values())
        raise DataError(f"holds {there}, but no file for {', '.join(missing)}, such as {_suggest(missing[0])}")
    arrays = {part: read_array(found[part][0]) for part in PARTS}
    if all(found[part][0].name.startswith("emnist") for part in PARTS):
        arrays |= {part: arrays[part].transpose(0, 2, 1) for part in ("x_train", "x_test")}
        notes.append("EMNIST stores its images transposed; they were turned upright")
    return Found(arrays=arrays, notes=tuple(notes))


def read_array(path: Path) -> Array:
    """One array of an IDX, .npy or one-array .npz file, gzipped or not, whatever its name says."""
    head = _read_head(path, unpack=False)
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise DataError(f"{path.name} holds {', '.join(names)}; one array is wanted")
            return _read_member(archive, names[0])
    opened: IO[bytes] = gzip.open(path) if head.startswith(b"\x1f\x8b") else path.open("rb")  # type: ignore[assignment]  # noqa: SIM115
    with opened as stream:
        start = stream.read(4)
        if start == b"\x93NUM":
            return _read_npy(stream, path.name, start)
        if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in IDX_TYPES:
            raise DataError(f"{path.name} does not begin as an IDX file; fetch it again")
        shape = struct.unpack(f">{start[3]}I", stream.read(4 * start[3]))
        array = _read_exactly(stream, path.name, shape, np.dtype(IDX_TYPES[start[2]]))
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 8 else array  # QMNIST's labels: the class comes first


def _find_in_folder(folder: Path) -> Found:
    """What a folder holds, by the first kind of files of which there are any."""
    if (parts := read_parts(folder)) is not None:
        return parts
    files = list(_walk(folder))
    tables = [file for file in files if file.suffix.lower() == ".csv"]
    archives = [file for file in files if file.suffix.lower() == ".npz"]
    if len(archives) == 1:
        return read_archive(archives[0])
    if tables:
        return _read_tables(tables)
    if pictures := [file for file in files if file.suffix.lower() in PICTURES]:
        return _read_pictures(folder, pictures)
    raise DataError(
        "holds no image set; wanted are four IDX files, an .npz file, a CSV file, or pictures in train/CLASS/ and "
        "test/CLASS/"
    )


def _read_tables(tables: list[Path]) -> Found:
    """Kaggle's train.csv and test.csv, the latter often without labels."""
    whens = {when: [file for file in tables if when in file.stem.lower()] for when in ("train", "test")}
    if len(tables) > 1 and (len(whens["train"]) != 1 or len(whens["test"]) > 1):
        raise DataError(f"holds {', '.join(file.name for file in tables)}; name the one with the training images")
    images, labels = _read_table(whens["train"][0] if whens["train"] else tables[0])
    if labels is None:
        raise DataError(f"{tables[0].name} has no column of labels; give one named label")
    if not whens["test"]:
        return Found(arrays={"x": images, "y": labels})
    test_images, test_labels = _read_table(whens["test"][0])
    if test_labels is None:
        note = f"{whens['test'][0].name} has no labels and is not used"
        return Found(arrays={"x": images, "y": labels}, notes=(note,))
    return Found(arrays={"x_train": images, "y_train": labels, "x_test": test_images, "y_test": test_labels})


def _read_table(path: Path) -> tuple[Array, Array | None]:
    """Images (N, pixels) and labels of a CSV table: a column label or the first of 785; None without labels."""
    import pandas as pd

    check_memory(path.name, (path.stat().st_size,), 4)
    first = pd.read_csv(path, nrows=1, header=None, dtype=str)
    headed = not all(str(value).lstrip("-").replace(".", "", 1).isdigit() for value in first.iloc[0])
    try:
        table = pd.read_csv(path, header=0 if headed else None)
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path.name} is not a table ({' '.join(str(error).split())}); give label, pixel0, pixel1 ..."
        ) from error
    named = [column for column in table.columns if str(column).lower() in ("label", "class", "target", "y")]
    label = named[0] if named else table.columns[0] if table.shape[1] == SIDE * SIDE + 1 else None
    pixels = table.drop(columns=[label] if label is not None else [])
    if not all(kind.kind in "iuf" for kind in pixels.dtypes):
        raise DataError(f"{path.name} has columns that are no numbers; give label, pixel0, pixel1 ...")
    images: Array = pixels.to_numpy()
    if images.shape[1] == SIDE * SIDE and images.dtype.kind == "i" and 0 <= images.min() <= images.max() <= 255:
        images = images.astype(np.uint8).reshape(-1, SIDE, SIDE)
    return images, None if label is None else table[label].to_numpy()


def _read_pictures(folder: Path, pictures: list[Path]) -> Found:
    """Pictures of one size in CLASS/ or in train/CLASS/ and test/CLASS/ (or val/), in the order of their names."""
    classes = sorted({file.parent.name for file in pictures}, key=lambda name: (not name.isdigit(), name.zfill(9)))
    numbers = {name: int(name) if all(map(str.isdigit, classes)) else place for place, name in enumerate(classes)}
    whens = {file: file.relative_to(folder).parts[0].lower() for file in pictures}
    test = [file for file in pictures if whens[file] in ("test", "testing", "val", "valid", "validation")]
    train = [file for file in pictures if whens[file] in ("train", "training")] or [
        file for file in pictures if file not in set(test)
    ]
    if any(file.parent == folder for file in pictures):
        raise DataError("holds pictures that are in no class's folder; put them into CLASS/, such as train/7/")
    arrays = {}
    for suffix, files in (("_train" if test else "", train), ("_test", test)):
        if files:
            check_memory(folder.name, (len(files), SIDE, SIDE), 1)
            arrays[f"x{suffix}"] = np.stack([_read_picture(file, folder) for file in files])
            arrays[f"y{suffix}"] = np.array([numbers[file.parent.name] for file in files])
    named = ", ".join(f"{number} {name}" for name, number in numbers.items() if str(number) != name)
    return Found(arrays=arrays, notes=(f"classes by name: {named}",) if named else ())


def _read_picture(file: Path, folder: Path) -> Array:
    """A picture of a data set in grey, uint8 (28, 28)."""
    with Image.open(file) as picture:
        if picture.size != (SIDE, SIDE):
            where = file.relative_to(folder)
            raise DataError(f"{where} is {picture.width}x{picture.height}, not 28x28; scale the pictures to 28x28")
        return np.asarray(picture.convert("L"))


def _walk(folder: Path) -> Iterator[Path]:
    """The regular files below a folder, by name, hidden ones left out."""
    level = [folder]
    for _ in range(DEPTH + 1):
        entries = sorted(entry for each in level for entry in each.iterdir() if not entry.name.startswith("."))
        if len(entries) > MOST_FILES:
            raise DataError(f"holds more than {MOST_FILES:,} files; name the folder of one data set")
        yield from (entry for entry in entries if entry.is_file())
        level = [entry for entry in entries if entry.is_dir()]


def _read_head(path: Path, unpack: bool = True) -> bytes:
    """The first bytes of a file, of what it packs if it is gzipped."""
    with path.open("rb") as stream:
        head = stream.read(256)
    if unpack and head.startswith(b"\x1f\x8b"):
        with gzip.open(path) as packed:
            return packed.read(256)
    return head


def _is_array_file(head: bytes) -> bool:
    """Whether a file begins as IDX, .npy or .npz does; an empty one counts by its name alone."""
    idx = len(head) >= 4 and head[:2] == b"\0\0" and head[2] in IDX_TYPES
    return idx or head.startswith((b"\x93NUMPY", b"PK")) or len(head) < 4


def _suggest(part: str) -> str:
    """The name of the original distribution's file for a part."""
    kind, _, when = part.partition("_")
    rest = "images-idx3-ubyte" if kind == "x" else "labels-idx1-ubyte"
    return f"{'train' if when == 'train' else 't10k'}-{rest}"


def _read_member(archive: zipfile.ZipFile, member: str) -> Array:
    """One .npy member of an archive."""
    with archive.open(member) as stream:
        return _read_npy(stream, member, b"")


def _read_npy(stream: IO[bytes], name: str, start: bytes) -> Array:
    """An array, read only after its header promised one of bearable size and of plain numbers."""
    begin = io.BytesIO(start + stream.read(8 - len(start)))
    version = np.lib.format.read_magic(begin)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise DataError(f"{name} holds {dtype}, which may run programs and is never opened; save plain numbers")
    array = _read_exactly(stream, name, shape[::-1] if fortran else shape, dtype)
    return array.T if fortran else array


def _read_exactly(stream: IO[bytes], name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array of this shape, which the stream must hold to the byte."""
    check_memory(name, shape, dtype.itemsize)
    size = math.prod(shape) * dtype.itemsize
    content = stream.read(size + 1)
    if len(content) != size:
        raise ValueError(f"{name}: {min(len(content), size):,} of {size:,} bytes, or more than its header says")
    return np.frombuffer(content, dtype).reshape(shape)
