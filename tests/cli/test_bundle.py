"""The two commands with their whole output, from one store to another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.tracking.store import find_experiment, open_store
from tests.conftest import call, enter, entered, refuse, succeed
from tests.tracking.planted import plant_study

PAIR = ("conv2_3x3", "conv2_3x3_reg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with the experiment `carried`: four finished runs, one of other settings, one failed."""
    folder = tmp_path_factory.mktemp("cluster")
    with entered(folder):
        plant_study(open_store(), "carried", PAIR, range(2))
    return folder


@pytest.fixture
def exported(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of the experiment; a fresh store is in use."""
    path = tmp_path / "carried.zip"
    enter(folder, monkeypatch)
    result = call("bundle", "export", "carried", str(path))
    seal = path.read_bytes()[-64:].decode()
    assert (result.exit_code, result.stdout) == (0, f'{path}: 5 runs of "carried", 0 files; sha256 {seal}\n')
    enter(tmp_path / "laptop", monkeypatch)
    return path


def test_an_experiment_is_carried_to_another_store(
    folder: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = succeed("bundle", "import", str(exported)).stdout.splitlines()
    assert [re.sub("[0-9a-f]{32}$", "ID", line) for line in lines] == [
        *("conv2_3x3-s0: run ID", "conv2_3x3-s1: run ID", "conv2_3x3_reg-s0: run ID", "conv2_3x3_reg-s1: run ID"),
        *("conv2_3x3-s0: run ID", '"carried": 5 runs imported, 0 already there'),
    ]
    assert call("bundle", "import", str(exported)).stdout.splitlines() == [
        *(line.replace(": run ", ": already there as run ") for line in lines[:-1]),
        '"carried": 0 runs imported, 5 already there',
    ]
    arguments = ("compare", "carried", "--epochs", "4", "--rule", "all-seeds", "--format", "csv", "--truth")
    there = call(*arguments)
    back = tmp_path / "back.zip"
    succeed("bundle", "export", "carried", str(back))
    enter(folder, monkeypatch)
    assert succeed(*arguments).stdout == there.stdout
    assert call("bundle", "import", str(back)).stdout.endswith("0 runs imported, 5 already there\n")


def test_a_bundle_goes_into_an_experiment_of_another_name(exported: Path) -> None:
    into = call("bundle", "import", str(exported), "--into", "elsewhere")
    assert into.stdout.splitlines()[-1] == '"elsewhere": 5 runs imported, 0 already there'
    store = open_store()
    assert len(store.client.search_runs([find_experiment(store, "elsewhere")])) == 5
    assert store.client.get_experiment_by_name("carried") is None


def test_a_damaged_bundle_changes_nothing(exported: Path) -> None:
    whole = exported.read_bytes()
    exported.write_bytes(whole[:999] + bytes([whole[999] ^ 1]) + whole[1000:])
    line = f"Error: {exported}: damaged, or no bundle: its sha256 is not the one at its end; copy it again\n"
    assert refuse("bundle", "import", str(exported)) == line
    assert not Path("mlflow.db").exists(), "the store is not even opened"


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("export", "nowhere", "new.zip"), 1, 'Error: no experiment "nowhere" in the store; it has Default, carried'),
        (("export", "Default", "new.zip"), 1, 'Error: no finished run in "Default"; train one first'),
        (("export", "carried", "there.zip"), 1, "Error: there.zip already exists; remove it or choose another name"),
        (("export", "carried", "no/x.zip"), 1, "Error: no/x.zip.unfinished: No such file or directory"),
        (
            ("import", "there.zip"),
            1,
            "Error: there.zip: no bundle, or the end of one is missing; "
            "make one with `python -m pipeline bundle export`",
        ),
        (("export", "carried"), 2, "Error: Missing argument 'FILE'. (see python -m pipeline bundle export --help)"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, line: str
) -> None:
    enter(folder, monkeypatch)
    Path("there.zip").write_text("no zip file")
    result = call("bundle", *arguments)
    assert (result.output, result.exit_code) == (f"{line}\n", code)
    assert sorted(path.name for path in folder.glob("*.zip*")) == ["there.zip"]
    Path("there.zip").unlink()
