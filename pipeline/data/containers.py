"""Arrays out of files, trusting nothing: headers are checked before data are read, and nothing is executed.

NumPy's .npz and .npy, IDX, CSV tables, and pictures in a folder for each class; what else a file is gets named.
"""

from __future__ import annotations

import gzip
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from pipeline.data.arrays import PARTS, Array, Found, check_sizes, name_part
from pipeline.data.pictures import PICTURES, read_pictures
from pipeline.data.stored import is_idx, read_files, read_members
from pipeline.errors import DataError
from pipeline.images import LARGEST, SMALLEST

DEPTH = 3  # folders below the named one in which files are looked for
MOST_FILES = 1_000_000
MAPPING_LIMIT = 100_000  # bytes of EMNIST's class names; the largest has some 700
LABELS = ("label", "class", "target", "y")
IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
"""As the original distribution calls them."""
TURN = 'np.savez("data.npz", x_train=..., y_train=..., x_test=..., y_test=...)'
PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
STRANGERS: Mapping[bytes | tuple[bytes, ...], str] = {
    b"\x89HDF": f"an HDF5 file (or MATLAB 7.3); read it with h5py and save it by {TURN}",
    b"MATLAB": f"a MATLAB file; read it with scipy.io.loadmat and save it by {TURN}",
    b"PAR1": f"a Parquet file; read it with pandas.read_parquet, decode its images and save them by {TURN}",
    PICKLES: f"a Python pickle, which may run programs and is never opened; save it by {TURN}",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself; fetch it by `git lfs pull`",
    b"<": "a web page, not the file that it was to be; download it again, where need be after logging in",
}


def find_arrays(path: Path) -> Found:
    """What a file or a folder holds; raises DataError without the path, and what damaged files raise."""
    if path.is_dir():
        return _find_in_folder(path)
    head = _read_head(path)
    if not head:
        raise DataError("is empty; fetch it again")
    if head.startswith(b"PK"):
        return read_archive(path)
    for start, kind in STRANGERS.items():
        if head.lstrip().startswith(start):
            raise DataError(f"is {kind}")
    if path.suffix.lower() in (".csv", ".tsv") or b"," in head:
        return Found(arrays=_read_table(path))
    if _is_array_file(head):
        raise DataError("is one array of several; name the folder with all four: images and labels, train and test")
    raise DataError(f"is not an image set (it begins with {head[:8]!r}); name an .npz or CSV file, or a folder")


def read_archive(path: Path) -> Found:
    """The arrays of an .npz archive under the names that people use, without pickle."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        if any(name.endswith("data.pkl") for name in archive.namelist()):
            raise DataError(f"is a PyTorch file, which may run programs and is never opened; save it by {TURN}")
        parts: dict[str, list[str]] = {}
        for name in names:
            parts.setdefault(name_part(name.removesuffix(".npy")), []).append(name)
        used = {part: members for part, members in parts.items() if part in PARTS} or {
            part: members for part, members in parts.items() if part in ("x", "y")
        }
        if set(used) not in ({"x", "y"}, {"x_train", "y_train"}, set(PARTS)):
            held = ", ".join(name.removesuffix(".npy") for name in names) or "no array"
            raise DataError(f"holds {held}; x_train, y_train, x_test and y_test are wanted")
        for part, members in used.items():
            if len(members) > 1:
                raise DataError(f"holds {' and '.join(members)} for {part}; keep one of them")
        arrays = read_members(archive, {part: members[0] for part, members in used.items()})
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
    for part in (part for part in PARTS if part in found):
        files = found[part]
        plain = [file for file in files if file.suffix != ".gz"]
        if len(plain) == 1 and len({file.name.removesuffix(".gz") for file in files}) == 1:
            found[part] = plain
        elif len(files) > 1:
            names = " and ".join(str(file.relative_to(folder)) for file in sorted(files))
            raise DataError(f"holds {names} for {part}; keep one of them, or name a folder with one")
    if missing := [part for part in PARTS if part not in found]:
        there = ", ".join(files[0].name for files in found.values())
        raise DataError(f"holds {there}, but no file for {', '.join(missing)}, such as {IDX_FILES[missing[0]]}")
    arrays = read_files({part: found[part][0] for part in PARTS})
    if not all(found[part][0].name.startswith("emnist") for part in PARTS):
        return Found(arrays=arrays)
    arrays |= {part: arrays[part].transpose(0, 2, 1) for part in ("x_train", "x_test")}
    note = "EMNIST stores its images transposed; they were turned upright"
    return Found(arrays=arrays, notes=(note,), names=_read_mapping(found["y_train"][0]))


def _read_mapping(labels: Path) -> dict[int, str]:
    """EMNIST's class names, from emnist-letters-mapping.txt beside the labels: by line a label and its characters."""
    path = labels.with_name(f"{labels.name.partition('-train-')[0]}-mapping.txt")
    if not path.is_file() or path.stat().st_size > MAPPING_LIMIT:
        return {}
    rows = [[int(word) for word in line.split()] for line in path.read_text(encoding="ascii").splitlines() if line]
    return {label: "/".join(map(chr, codes)) for label, *codes in rows}


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
        return read_pictures(folder, pictures)
    raise DataError(
        "holds no image set; wanted are four IDX files, an .npz file, a CSV file, or pictures in train/CLASS/ and "
        "test/CLASS/"
    )


def _read_tables(tables: list[Path]) -> Found:
    """Kaggle's train.csv and test.csv, the latter often without labels."""
    whens = {when: [file for file in tables if when in file.stem.lower()] for when in ("train", "test")}
    if len(tables) > 1 and (len(whens["train"]) != 1 or len(whens["test"]) > 1):
        raise DataError(f"holds {', '.join(file.name for file in tables)}; name the one with the training images")
    train = _read_table(whens["train"][0] if whens["train"] else tables[0])
    if "y" not in train:
        raise DataError(f"{tables[0].name} has no column of labels; give one named label")
    if not whens["test"] or len(tables) == 1:
        return Found(arrays=train)
    test = _read_table(whens["test"][0])
    if "y" not in test:
        return Found(arrays=train, notes=(f"{whens['test'][0].name} has no labels and is not used",))
    return Found(arrays={"x_train": train["x"], "y_train": train["y"], "x_test": test["x"], "y_test": test["y"]})


def _read_table(path: Path) -> dict[str, Array]:
    """Images "x" and, if any, labels "y" of a CSV table: a column label, or the first beside square images."""
    import pandas as pd

    check_sizes({path.name: ((path.stat().st_size,), 4)})
    between = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        first = pd.read_csv(path, sep=between, nrows=1, header=None, dtype=str)
        headed = not all(map(_is_number, first.iloc[0, 1:]))  # the first value may be a class's name
        table = pd.read_csv(path, sep=between, header=0 if headed else None)
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path.name} is not a table ({' '.join(str(error).split())}); give label, pixel0, pixel1 ..."
        ) from error
    named = [column for column in table.columns if str(column).lower() in LABELS]
    label = named[0] if named else table.columns[0] if _is_square(table.shape[1] - 1) else None
    pixels = table.drop(columns=[label] if label is not None else [])
    if not all(kind.kind in "iuf" for kind in pixels.dtypes):
        raise DataError(f"{path.name} has columns that are no numbers; give label, pixel0, pixel1 ...")
    images: Array = pixels.to_numpy()
    if _is_square(images.shape[1]) and images.dtype.kind == "i" and 0 <= images.min() <= images.max() <= 255:
        images = images.astype(np.uint8).reshape(-1, *2 * [math.isqrt(images.shape[1])])
    return {"x": images} if label is None else {"x": images, "y": table[label].to_numpy()}


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _is_square(pixels: int) -> bool:
    """Whether so many pixels make a square image of a size that is taken."""
    return SMALLEST <= math.isqrt(pixels) <= LARGEST and math.isqrt(pixels) ** 2 == pixels


def _walk(folder: Path) -> Iterator[Path]:
    """The regular files below a folder, by name, hidden ones left out."""
    level = [folder]
    for _ in range(DEPTH + 1):
        entries = sorted(entry for each in level for entry in each.iterdir() if not entry.name.startswith("."))
        if len(entries) > MOST_FILES:
            raise DataError(f"holds more than {MOST_FILES:,} files; name the folder of one data set")
        yield from (entry for entry in entries if entry.is_file())
        level = [entry for entry in entries if entry.is_dir()]


def _read_head(path: Path) -> bytes:
    """The first bytes of a file, of what it packs if it is gzipped."""
    with path.open("rb") as stream:
        head = stream.read(256)
    if head.startswith(b"\x1f\x8b"):
        with gzip.open(path) as packed:
            return packed.read(256)
    return head


def _is_array_file(head: bytes) -> bool:
    """Whether a file begins as IDX, .npy or .npz does; an empty one counts by its name alone."""
    return is_idx(head) or head.startswith((b"\x93NUMPY", b"PK")) or len(head) < 4
