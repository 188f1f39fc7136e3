from __future__ import annotations

import gzip
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import fetch
from pipeline.data.arrays import ImageSet
from pipeline.data.containers import IDX_FILES
from pipeline.data.datasets import load_data, shows_digits
from pipeline.data.formats import read_path
from pipeline.errors import DataError
from tests.conftest import SUBSET
from tests.made import encode_idx

STEMS = {part: f"{name}.gz" for part, name in IDX_FILES.items()}


def write_idx(images: ImageSet, folder: Path) -> Path:
    """The four files as Debian and Keras have them."""
    folder.mkdir()
    for name, array in images:
        (folder / STEMS[name]).write_bytes(gzip.compress(encode_idx(array), 1))
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Real images in place of Fashion-MNIST's, with an empty cache, no network and no package of Debian."""
    images = read_path(SUBSET)
    known = replace(fetch.KNOWN["fashion-mnist"], sha256=images.hash_arrays())
    monkeypatch.setitem(fetch.KNOWN, "fashion-mnist", known)
    monkeypatch.setattr(fetch.platformdirs, "user_cache_path", lambda _name: tmp_path / "cache")
    monkeypatch.setattr(fetch, "DEBIAN_FOLDER", tmp_path / "none")
    monkeypatch.setattr(fetch, "KERAS_FOLDER", "http://127.0.0.1:9/")
    return write_idx(images, tmp_path / "idx")


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    """A real server of the four files, in place of Keras's archive."""
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def test_debians_folder_is_verified_and_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "DEBIAN_FOLDER", folder)
    dataset = load_data("fashion-mnist", subset=600)
    assert (dataset.name, dataset.source) == ("fashion-mnist-600", "Debian's package")
    shutil.rmtree(folder)
    again = load_data("fashion-mnist")
    assert (again.name, again.source) == ("fashion-mnist", "cache")
    assert again.sha256 == load_data(str(SUBSET)).sha256
    assert np.array_equal(again.x_test, load_data(str(SUBSET)).x_test)


def test_without_debian_keras_has_it(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "KERAS_FOLDER", server)
    assert load_data("fashion-mnist").source == "Keras's archive"


def test_other_contents_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "DEBIAN_FOLDER", folder)
    labels = folder / STEMS["y_test"]
    labels.write_bytes(gzip.compress(gzip.decompress(labels.read_bytes())[:-1] + b"\x00"))
    with pytest.raises(DataError) as caught:
        load_data("fashion-mnist")
    assert "Debian's package: the contents are not Fashion-MNIST's" in str(caught.value)
    assert not (folder.parent / "cache" / "fashion-mnist.npz").exists()


@pytest.mark.usefixtures("folder")
def test_where_it_is_nowhere_the_remedy_is_said() -> None:
    with pytest.raises(DataError) as caught:
        load_data("fashion-mnist")
    message = str(caught.value)
    assert message.startswith("Fashion-MNIST could not be fetched (Debian's package: no train-images-idx3-ubyte or ")
    assert "install Debian's or Ubuntu's package dataset-fashion-mnist, or name a folder with the four" in message
    assert "\n" not in message


def test_whatever_else_is_said_is_a_path(folder: Path) -> None:
    assert load_data(str(folder)).sha256 == load_data(str(SUBSET)).sha256 == load_data(str(SUBSET)).sha256


def test_only_what_is_known_to_be_something_else_is_no_digit() -> None:
    assert [shows_digits(name) for name in ("mnist-2000", "data-0123456789ab", "", "fashion-mnist-2000")] == [
        *(True, True, True, False)
    ]


@pytest.mark.skipif(not fetch.DEBIAN_FOLDER.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_debians_package_is_fashion_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.platformdirs, "user_cache_path", lambda _name: tmp_path)
    dataset = load_data("fashion-mnist", subset=60)
    assert (dataset.name, dataset.source) == ("fashion-mnist-60", "Debian's package")
    assert sorted(set(dataset.y_train.tolist())) == list(range(10))
    assert not fetch.is_mnist(read_path(tmp_path / "fashion-mnist.npz"))
