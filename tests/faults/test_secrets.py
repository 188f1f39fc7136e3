"""Secrets planted where a program meets them: none may be found in what a run leaves, prints or shows to `ps`."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from pipeline.sweep.execute import forward_environment
from tests.conftest import Start
from tests.faults.test_private import run_git

CANARY = "canary-7f3a91"
ENVIRONMENT = {
    **dict.fromkeys(("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY"), CANARY),
    **dict.fromkeys(("PGPASSWORD", "MY_PASSWORD", "GITHUB_TOKEN", "PIP_INDEX_URL", "HOME_TOKEN"), CANARY),
}


def set_remote(project: Path) -> None:
    """A git repository with one commit and a remote that holds a password."""
    run_git(project, "init", "--quiet")
    run_git(project, "add", "MLproject")
    run_git(project, "commit", "--quiet", "--message=first")
    run_git(project, "remote", "add", "origin", f"https://me:{CANARY}@example.org/study.git?private_token={CANARY}")


def read_command_lines(group: int) -> str:
    """The command lines of the processes of a session, as `ps` shows them to everybody."""
    found = ""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == group:
                found += (folder / "cmdline").read_text()
        except (OSError, UnicodeDecodeError):
            continue  # it has ended meanwhile
    return found


def find_in_files(folder: Path) -> list[str]:
    """The files that hold the canary."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert len(files) > 50
    return [str(path) for path in files if CANARY.encode() in path.read_bytes()]


@pytest.mark.slow
def test_a_planted_secret_is_nowhere(project: Path, start: Start) -> None:
    set_remote(project)
    options = [f"-P{name}" for name in ("data=tests/mnist-subset.npz", "epochs=1", "subset=600")]
    process = start("mlflow", "run", ".", "--env-manager", "local", *options, **ENVIRONMENT)
    seen = set()
    while process.poll() is None and len(seen) < 3:
        lines = read_command_lines(process.pid)
        assert CANARY not in lines
        seen |= {word for word in ("mlflow", "pipeline", "train") if word in lines}
        time.sleep(0.2)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert seen == {"mlflow", "pipeline", "train"}
    assert CANARY not in output
    assert (project / "mlflow.db").is_file()
    assert list(project.glob("mlruns/*/*/artifacts/git.diff")), "the source was logged"
    assert find_in_files(project) == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_password_in_the_address_of_a_server_is_refused_unsaid(project: Path, start: Start, scheme: str) -> None:
    shutil.rmtree(project / "tests")
    process = start("python", "-m", "pipeline", "train", MLFLOW_TRACKING_URI=f"{scheme}://me:{CANARY}@127.0.0.1:9")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output.startswith("Error: MLFLOW_TRACKING_URI holds a password or token; ")
    assert CANARY not in output


def test_a_sweep_forwards_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ENVIRONMENT, "MLFLOW_BACKEND_STORE_URI"):
        monkeypatch.setenv(name, CANARY)
    told = {
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
        "PIPELINE_STORE_PATIENCE": "5",
        "MLFLOW_EXPERIMENT_NAME": "a",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    forwarded = forward_environment()
    assert told.items() <= forwarded.items()
    assert CANARY not in forwarded.values()
