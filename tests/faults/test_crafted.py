"""Files that another hand has made to be read: each is one line, in bounded time and memory; pipes and devices too."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.formats import read_path
from pipeline.errors import DataError, ExperimentError, PipelineError, ResumeError
from pipeline.serving.picture import read_picture
from pipeline.study.experiment import load_experiment, load_variants
from pipeline.tracking.bundle.archive import open_bundle
from pipeline.tracking.bundle.manifest import BundledFile, BundleError, decode_manifest
from pipeline.training.checkpoint import MAGIC, decode_checkpoint
from tests.conftest import call


def seal(header: bytes, arrays: bytes) -> bytes:
    """A checkpoint with the right hash, whatever is in it."""
    content = MAGIC + len(header).to_bytes(8, "little") + header + arrays
    return content + hashlib.sha256(content).digest()


def pack(name: str, content: bytes, kind: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def make_array(shape: tuple[int, ...], content: bytes = b"", dtype: str = "|u1") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": dtype})
    return stream.getvalue() + content


HEADER = json.dumps({"format": 1, "config": {}, "epochs": []}).encode()
CHECKPOINTS = {
    "no JSON": seal(b"{", b""),
    "deep": seal(b"[" * 100_000, b""),
    "a list": seal(b"[]", b""),
    "a number": seal(b"1", b""),
    "no keys": seal(b'{"format": 1}', pack("a.npy", make_array((1,), b"1"))),
    "strange epochs": seal(b'{"format": 1, "config": {}, "epochs": [{"x": 1}]}', pack("a.npy", make_array((1,), b"1"))),
    "no arrays": seal(HEADER, b""),
    "no zip": seal(HEADER, b"PK" * 100),
    "huge promise": seal(HEADER, pack("a.npy", make_array((2**40,)))),
    "packed": seal(HEADER, pack("a.npy", make_array((2**26,), bytes(2**26)), zipfile.ZIP_DEFLATED)),
    "objects": seal(HEADER, pack("a.npy", make_array((1,), b"x" * 8, "|O"))),
    "no array": seal(HEADER, pack("a.npy", b"text")),
    "a length past the end": MAGIC + b"\xff" * 8 + hashlib.sha256(MAGIC + b"\xff" * 8).digest(),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_a_crafted_checkpoint_is_refused(case: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ResumeError) as caught:
        decode_checkpoint(CHECKPOINTS[case])
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # KiB


TOMLS = {
    "deep": "a = " + "[" * 100_000,
    "deep tables": "a" + ".a" * 300_000 + " = 1",
    "huge": 'description = "' + "x" * 2_000_000 + '"',
    "a long number": "seeds = [" + "9" * 100_000 + "]",
    "escapes": 'variants = ["conv2_3x3"]\nseeds = [0]\ndescription = "\\u001b[2J"',
}


@pytest.mark.parametrize("case", TOMLS)
def test_a_crafted_toml_file_is_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "crafted.toml"
    path.write_text(TOMLS[case])
    for load in (load_experiment, load_variants):
        with pytest.raises((ExperimentError, OSError)) as caught:
            load(str(path))
        assert str(path) in str(caught.value)
        assert str(caught.value).isprintable()
    assert call("plan", str(path)).exit_code == 1


@pytest.fixture(params=["pipe", "device"])
def endless(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What never ends when it is read."""
    path = tmp_path / "endless.toml"
    if request.param == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    return path


def test_a_pipe_or_device_is_not_read(endless: Path, store_uri: str) -> None:
    with pytest.raises(DataError, match=r"not a regular file; name an \.npz or CSV file, or a folder"):
        read_path(endless)
    with pytest.raises(DataError, match="not a regular file; give a picture file"):
        read_picture(endless)
    with pytest.raises((PipelineError, OSError), match="not a regular file"), open_bundle(endless):
        pass
    commands = (
        ("plan", endless),
        ("train", "--variants", endless),
        ("train", "--epochs=1", "--data", endless),
        ("bundle", "import", endless),
        ("gate", "--against", endless, "Default"),
    )
    for command in commands:
        result = call(*map(str, command))
        assert result.exit_code in (1, 2), command
        assert result.stderr.count("\n") == 1, result.stderr
        assert "regular file" in result.stderr


def test_a_deep_path_in_a_bundle_is_refused() -> None:
    with pytest.raises(BundleError, match="is not a plain path"):
        BundledFile(path="a/" * 150 + "b", sha256="0" * 64, size=0)


@pytest.mark.parametrize("filling", [b"{},", b"[],", b"0,", b'"",'])
def test_a_huge_manifest_is_refused_in_bounded_memory(filling: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    content = b'{"format": 1, "runs": [' + filling * (2**22 // len(filling)) + b"0]}"
    with pytest.raises(BundleError):
        decode_manifest(content)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < 32 * len(content)
