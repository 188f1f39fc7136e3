"""A bundle: an experiment's runs in one file, to carry them from one store to another.

A zip file that any program opens: each content once as `files/SHA256`, and `manifest.json`, which says what is whose.
Its comment, the last 64 bytes, is the sha256 of all bytes before, so that no bit can change unnoticed. It names no path
that anything is unpacked to, and the same runs give the same bytes (with the same zlib).
"""

from __future__ import annotations

import hashlib
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from pipeline.private import check_regular
from pipeline.tracking.bundle.manifest import BundledFile, BundleError, Manifest, decode_manifest, encode_manifest

MANIFEST = "manifest.json"
FILES = "files/"
ENTRY = re.compile(r"files/[0-9a-f]{64}")
SEAL = 64
CHUNK = 2**20
MANIFEST_LIMIT = 2**25
RATIO = 200
"""No bundle unpacks to more than so many times its size: images and weights hardly shrink, JSON does some 20 times."""
LEVEL = 6
ENCRYPTED = 0x1
BROKEN = (zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, EOFError, OverflowError, RuntimeError)
"""What zipfile raises for a file that is not a zip file, or a damaged one."""


class BundleWriter(AbstractContextManager["BundleWriter"]):
    """Writes a bundle to a stream that is open for reading and writing, and stays so; without `finish` it is none."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.archive = zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL)
        self.present: set[str] = set()

    def __exit__(self, *_: object) -> None:
        self.archive.close()

    def add_folder(self, folder: Path) -> tuple[BundledFile, ...]:
        """Add every file below a folder, in the order of their paths."""
        paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        return tuple(self._add(name, path) for name, path in sorted(paths.items()))

    def finish(self, manifest: Manifest) -> str:
        """Write the manifest and the seal, the sha256 of the bytes before it."""
        content = encode_manifest(manifest)
        decode_manifest(content)  # what cannot be imported is not exported
        with self.archive.open(_describe_entry(MANIFEST, len(content)), "w") as entry:
            entry.write(content)
        self.archive.comment = bytes(SEAL)
        self.archive.close()
        self.stream.seek(-SEAL, 2)
        seal = _hash_before(self.stream, self.stream.tell())
        self.stream.write(seal.encode())
        return seal

    def _add(self, name: str, path: Path) -> BundledFile:
        size = path.stat().st_size
        with path.open("rb") as source:
            sha256 = _hash_before(source, size)
            if sha256 not in self.present:
                source.seek(0)
                with self.archive.open(_describe_entry(FILES + sha256, size), "w") as entry:
                    shutil.copyfileobj(source, entry, CHUNK)
                self.present.add(sha256)
        return BundledFile(path=name, sha256=sha256, size=size)


@dataclass(frozen=True)
class BundleReader:
    """A bundle that was verified from its first byte to its last."""

    archive: zipfile.ZipFile
    manifest: Manifest

    def unpack(self, files: tuple[BundledFile, ...], folder: Path) -> None:
        """Write these files below an empty folder; raises BundleError if the bundle has changed meanwhile."""
        folder.mkdir(parents=True)
        for file in files:
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            with _entry_errors(), self.archive.open(FILES + file.sha256) as entry, target.open("xb") as copy:
                shutil.copyfileobj(entry, copy, CHUNK)
            with target.open("rb") as copy:
                if _hash_before(copy, file.size) != file.sha256:
                    raise BundleError(f"the bundle changed while {file.path} was read; import it again")


@contextmanager
def open_bundle(path: Path) -> Iterator[BundleReader]:
    """A bundle, after every hash, size and name in it was checked; raises BundleError."""
    check_regular(path)
    with path.open("rb") as stream:
        try:
            reader = _verify(stream)
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from error
        with reader.archive:
            yield reader


def _verify(stream: BinaryIO) -> BundleReader:
    if not zipfile.is_zipfile(stream):
        raise BundleError("no bundle, or the end of one is missing; make one with `python -m pipeline bundle export`")
    size = stream.seek(0, 2)
    stream.seek(-SEAL, 2)
    if stream.read().decode("ascii", "replace") != _hash_before(stream, size - SEAL):
        raise BundleError("damaged, or no bundle: its sha256 is not the one at its end; copy it again")
    with _entry_errors():
        archive = zipfile.ZipFile(stream)
        _check_entries(archive.infolist(), size)
        manifest = decode_manifest(archive.read(MANIFEST))
        _check_contents(archive, manifest, size)
    return BundleReader(archive, manifest)


@contextmanager
def _entry_errors() -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        raise BundleError(f"its zip structure is damaged ({type(error).__name__}); copy it again") from error


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    """Only the manifest and plain contents, each once, and not more than the file's size can honestly hold."""
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names) or MANIFEST not in names:
        raise BundleError("it has no manifest, or a name twice")
    for entry in entries:
        mode = stat.S_IFMT(entry.external_attr >> 16)
        named = entry.filename == MANIFEST or ENTRY.fullmatch(entry.filename)
        if not named or mode not in (0, stat.S_IFREG) or entry.flag_bits & ENCRYPTED:
            raise BundleError(f"{entry.filename!r:.80} does not belong into a bundle")
        if entry.filename == MANIFEST and entry.file_size > MANIFEST_LIMIT:
            raise BundleError(f"its manifest has {entry.file_size:,} bytes, {MANIFEST_LIMIT:,} are allowed")
    if sum(entry.file_size for entry in entries) > RATIO * size:
        raise BundleError(f"it unpacks to more than {RATIO} times its size")


def _check_contents(archive: zipfile.ZipFile, manifest: Manifest, size: int) -> None:
    """What the manifest names is there, nothing else is, and each content has its size and hash."""
    if sum(file.size for file in manifest.files) > RATIO * size:
        raise BundleError(f"it unpacks to more than {RATIO} times its size")
    sizes = {FILES + file.sha256: file.size for file in manifest.files}
    entries = {entry.filename: entry.file_size for entry in archive.infolist() if entry.filename != MANIFEST}
    if sizes != entries:
        raise BundleError("its manifest does not name the files that it has")
    for name in entries:
        with archive.open(name) as entry:
            if FILES + _hash_before(entry, sizes[name]) != name:
                raise BundleError(f"{name[:20]}... does not match the sha256 in its name")


def _describe_entry(name: str, size: int) -> zipfile.ZipInfo:
    """The header of an entry: no date, no owner."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3
    entry.external_attr = 0o600 << 16
    entry.file_size = size
    return entry


def _hash_before(stream: IO[bytes], size: int) -> str:
    """sha256 of the first bytes of a stream, hexadecimal; the stream then stands behind them."""
    stream.seek(0)
    sha256 = hashlib.sha256()
    while size > 0 and (chunk := stream.read(min(CHUNK, size))):
        sha256.update(chunk)
        size -= len(chunk)
    return sha256.hexdigest()
