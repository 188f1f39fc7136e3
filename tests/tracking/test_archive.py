"""What is no honest bundle is refused, before anything of it is believed."""

from __future__ import annotations

import hashlib
import io
import json
import random
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tracking.bundle.archive import RATIO, BundleWriter, open_bundle
from pipeline.tracking.bundle.manifest import (
    FORMAT,
    BundledFile,
    BundledInput,
    BundledModel,
    BundledRun,
    BundleError,
    Manifest,
    decode_manifest,
    encode_manifest,
)

RUN_ID = "a" * 32
TAGS = {"kind": "train", "outcome": "finished", "mlflow.runName": "conv2_3x3-s0", "note": "two\nlines, \u00e9"}
CONTENT = b"\x89PNG"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def make_manifest(files: tuple[BundledFile, ...]) -> Manifest:
    points = ((1, 5, "0.1"), (2, 6, "nan"), (2, 7, "1e-300"), (3, 7, "inf"))
    model = BundledModel(
        name="model", model_type="", step=2, params={"seed": "0"}, tags={}, metrics={"a/b": points}, files=files
    )
    given = BundledInput(name="mnist", digest="1", source_type="local", source="{}", schema="", profile="", tags={})
    run = BundledRun(
        run_id=RUN_ID,
        status="FINISHED",
        started=1,
        ended=2,
        params={"seed": "0"},
        tags=TAGS,
        metrics={"a/b": points},
        inputs=(given,),
        files=files,
        models=(model,),
    )
    return Manifest(format=FORMAT, experiment="study", tags={"plan.frozen": "{}"}, runs=(run,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A bundle with a run, a model and two contents."""
    folder = tmp_path / "folder"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "loss.png").write_bytes(CONTENT)
    (folder / "again.png").write_bytes(CONTENT)
    (folder / "MLmodel").write_text("flavors: {}\n")
    path = tmp_path / "study.zip"
    with path.open("w+b") as stream, BundleWriter(stream) as writer:
        writer.finish(make_manifest(writer.add_folder(folder)))
    return path


def refuse(path: Path, reason: str) -> None:
    """The bundle is refused in one line with this reason."""
    with pytest.raises(BundleError) as caught, open_bundle(path):
        pass
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert reason in message
    assert message.isprintable()


def forge(path: Path, entries: list[tuple[str | zipfile.ZipInfo, bytes]]) -> None:
    """A zip file with these entries and the right sha256 at its end."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
        archive.comment = bytes(64)
    body = stream.getvalue()[:-64]
    path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())


def forge_manifest(path: Path, table: Any, *more: tuple[str, bytes]) -> None:
    """The same bundle with another manifest, and maybe one more entry."""
    text = json.dumps(table, sort_keys=True, indent=1) + "\n"
    forge(path, [*read_entries(path)[:-1], *more, ("manifest.json", text.encode())])


def read_manifest(path: Path) -> Any:
    return json.loads(dict(read_entries(path))["manifest.json"])


def read_entries(path: Path) -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def test_a_bundle_gives_back_what_was_put_in(path: Path, tmp_path: Path) -> None:
    with open_bundle(path) as reader:
        (run,) = reader.manifest.runs
        assert reader.manifest == make_manifest(run.files)
        assert [file.path for file in run.files] == ["MLmodel", "again.png", "figures/loss.png"]
        reader.unpack(run.files, tmp_path / "out")
    assert (tmp_path / "out" / "figures" / "loss.png").read_bytes() == CONTENT
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist())[0] == f"files/{min(SHA256, run.files[0].sha256)}"
        assert len(archive.namelist()) == 3, "one content is kept once"


def test_a_flipped_bit_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(BundleError), open_bundle(path):
            pass
    for length in (0, 1, 64, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refuse(path, "no bundle")
    path.write_bytes(whole + b"\n")
    with pytest.raises(BundleError), open_bundle(path):
        pass
    path.write_bytes(whole)
    with open_bundle(path):
        pass


def test_a_foreign_zip_file_is_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.png", CONTENT)
    refuse(path, "damaged, or no bundle")
    forge(path, [("photo.png", CONTENT)])
    refuse(path, "it has no manifest, or a name twice")


def test_entries_that_no_export_writes_are_refused(path: Path) -> None:
    good = read_entries(path)
    link = zipfile.ZipInfo(f"files/{'0' * 64}")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    for name in ("../evil", "/etc/passwd", "files/x", "files/" + "A" * 64, "C:\\evil", "files/", link):
        forge(path, [*good, (name, b"evil")])
        refuse(path, "does not belong into a bundle")
    forge(path, [*good, (f"files/{hashlib.sha256(b'more').hexdigest()}", b"more")])
    refuse(path, "its manifest does not name the files that it has")
    forge(path, good[1:])
    refuse(path, "its manifest does not name the files that it has")
    forge(path, [(good[0][0], bytes(len(good[0][1]))), *good[1:]])
    refuse(path, "does not match the sha256 in its name")


def test_a_bomb_is_refused(path: Path) -> None:
    content = random.Random(0).randbytes(100_000)
    sha256 = hashlib.sha256(content).hexdigest()
    good, table = read_entries(path), read_manifest(path)
    table["runs"][0]["files"] = [{"path": str(place), "sha256": sha256, "size": 100_000} for place in range(2_000)]
    forge_manifest(path, table, (f"files/{sha256}", content))
    refuse(path, f"it unpacks to more than {RATIO} times its size")
    forge(path, [*good, (f"files/{'0' * 64}", bytes(50_000_000))])
    refuse(path, f"it unpacks to more than {RATIO} times its size")
    forge(path, [("manifest.json", b" " * (2**25 + 1))])
    refuse(path, "its manifest has 33,554,433 bytes, 33,554,432 are allowed")
    with pytest.raises(BundleError, match="its manifest is no JSON"):
        decode_manifest(b"[" * 100_000)


def change(*keys: Any, to: object) -> Callable[[Any], None]:
    def apply(table: Any) -> None:
        for key in keys[:-1]:
            table = table[key]
        table[keys[-1]] = to

    return apply


FILE = ("runs", 0, "files", 0)
HOSTILE = [
    *(
        change(*FILE, "path", to=name)
        for name in (
            *("", "/etc/passwd", "..", "../up", "a/../../up", "a//b", ".", "./a", "a/", "C:\\evil", "a\\b", "C:evil"),
            *(
                "a\nb",
                "a\0b",
                "a\x1b[2Jb",
                "%2e%2e/up",
                "a?b",
                "a#b",
                "x" * 500,
                "$(reboot)",
                "`reboot`",
                "a;b",
                "~",
                " ",
            ),
        )
    ),
    change(*FILE, "path", to="again.png"),
    change(*FILE, "path", to="figures"),
    change(*FILE, "path", to="AGAIN.png"),
    change(*FILE, "sha256", to="0" * 63),
    change(*FILE, "size", to=-1),
    change(*FILE, "size", to=True),
    change(*FILE, "size", to=4.0),
    change("runs", 0, "run_id", to="../../x"),
    change("runs", 0, "run_id", to="' OR 1=1 --"),
    change("runs", 0, "status", to="RUNNING"),
    change("runs", 0, "started", to=-1),
    change("runs", 0, "ended", to=2**60),
    change("runs", 0, "ended", to=None),
    change("runs", 0, "tags", "outcome", to="running"),
    change("runs", 0, "tags", "kind", to="import"),
    change("runs", 0, "tags", "mlflow.runName", to="\x1b]0;owned\x07"),
    change("runs", 0, "tags", "bundle.source_run_id", to="b" * 32),
    change("runs", 0, "tags", "../x", to=""),
    change("runs", 0, "tags", "x", to="y" * 8001),
    change("runs", 0, "tags", "x", to=1),
    change("runs", 0, "tags", "x", to="\0"),
    change("runs", 0, "tags", "x", to="\ud800"),
    change("runs", 0, "params", "/x", to=""),
    change("runs", 0, "params", "x'; DROP TABLE runs", to=""),
    change("runs", 0, "metrics", "a/b", to=[]),
    change("runs", 0, "metrics", "a/b", 0, to=[1, 5, "0.10"]),
    change("runs", 0, "metrics", "a/b", 0, to=[1, 5, 0.1]),
    change("runs", 0, "metrics", "a/b", 0, to=[1, 5, "__import__('os')"]),
    change("runs", 0, "metrics", "a/b", 0, to=[9, 5, "0.1"]),
    change("runs", 0, "metrics", "a/b", 0, to=[1, 5]),
    change("runs", 0, "inputs", 0, "digest", to="1" * 37),
    change("runs", 0, "models", 0, "name", to="../model"),
    change("runs", 0, "models", 0, "files", to=[]),
    change("runs", 0, "more", to=""),
    change("runs", to={}),
    change("tags", "lease.cell.1", to="{}"),
    change("experiment", to=""),
    change("experiment", to="a\nb"),
    change("format", to=2),
    change("format", to="1"),
    change("pickle", to="gASV"),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_hostile_manifest_is_refused(path: Path, number: int) -> None:
    table = read_manifest(path)
    HOSTILE[number](table)
    forge_manifest(path, table)
    refuse(path, "")


def test_a_harmless_change_of_the_manifest_is_read(path: Path) -> None:
    table = read_manifest(path)
    change(*FILE, "path", to="images/weights+step+1 (2).png")(table)
    forge_manifest(path, table)
    with open_bundle(path) as reader:
        assert reader.manifest.runs[0].files[0].path == "images/weights+step+1 (2).png"


def test_only_the_one_text_of_a_manifest_is_read() -> None:
    text = encode_manifest(make_manifest((BundledFile(path="MLmodel", sha256=SHA256, size=4),)))
    assert encode_manifest(decode_manifest(text)) == text
    for other in (text[:-1], b" " + text, text.replace(b'"format": 1', b'"format": 9, "format": 1')):
        with pytest.raises(BundleError, match="not as export writes it"):
            decode_manifest(other)


def test_a_newer_format_says_so(path: Path) -> None:
    forge(path, [("manifest.json", b'{"format": 2}')])
    refuse(path, "its format is 2, this program reads 1; export it again")


@settings(deadline=None)
@given(st.floats())
def test_every_float_survives(value: float) -> None:
    assert float(repr(value)).hex() == value.hex()


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_manifest_makes_it_fall_over(content: bytes) -> None:
    with pytest.raises(BundleError):
        decode_manifest(content)
