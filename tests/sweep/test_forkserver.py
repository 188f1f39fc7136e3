from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.interrupts import FOLLOW
from pipeline.sweep import forkserver
from pipeline.sweep.forkserver import ForkServer, run_cell
from tests.conftest import ROOT, run_python, write_study

SERVER = """
import os, signal, sys
from pipeline import interrupts
from pipeline.sweep import forkserver

def train(words):
    match words:
        case ["say", text]: print(text)
        case ["fail"]: print("no", file=sys.stderr); sys.exit(3)
        case ["die"]: os.kill(os.getpid(), signal.SIGKILL)
        case ["follow"]: interrupts.follow_launcher(); print("alone")
        case ["read"]: print(repr(sys.stdin.buffer.raw.read()))

forkserver.IDLE_SECONDS = 1
forkserver.serve_cells(train, forkserver.stamp_code() if sys.argv[1] == "same" else {})
print("ended")
"""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    return [str(write_study(tmp_path / "tiny.toml", ["conv2_3x3_reg"], range(2), epochs=1)), "conv2_3x3_reg"]


@pytest.fixture
def ended() -> Iterator[None]:
    yield
    if hasattr(forkserver._threads, "server"):
        forkserver._threads.server.end()
        del forkserver._threads.server


def ask(lines: str, code: str = "same") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", SERVER, code], input=lines, capture_output=True, text=True)


def test_each_fork_tells_how_it_ended_and_what_it_said() -> None:
    jobs = (["say", "one"], ["fail"], ["die"], ["read"], ["say", "two"])
    answers = ask("".join(json.dumps(job) + "\n" for job in jobs)).stdout.splitlines()
    assert [json.loads(answer) for answer in answers[:-1]] == [
        [0, "one\n"],
        [3, "no\n"],
        [-9, ""],
        [0, "b''\n"],
        [0, "two\n"],
    ]
    assert answers[-1] == "ended"


def test_a_fork_follows_its_fork_server_and_not_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLLOW, str(os.getpid()))
    assert ask('["follow"]\n').stdout.splitlines()[0] == '[0, "alone\\n"]'


@pytest.mark.slow
def test_a_cell_whose_launcher_died_before_it_began_trains_nothing(words: list[str], tmp_path: Path) -> None:
    more = {FOLLOW: "1", "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    done = run_python(ROOT, "-m", "pipeline", "cell", *words, "0", **more)
    assert done.returncode == 143, done.stderr
    assert not (tmp_path / "mlflow.db").exists()


def test_a_fork_server_of_code_that_has_changed_starts_no_cell() -> None:
    assert ask('["say", "one"]\n', "changed").stdout == "ended\n"


def test_a_fork_server_that_nobody_asks_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER, "same"], stdin=subprocess.PIPE) as process:
        assert process.wait(20) == -14


def make_environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", FOLLOW: str(os.getpid())}


@pytest.mark.slow
def test_a_fork_trains_as_a_new_interpreter_does(
    words: list[str], tmp_path: Path, ended: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    forked = [run_cell([*words, seed], make_environment(tmp_path)) for seed in ("0", "1", "0")]
    assert [code for code, _ in forked] == [0, 0, 0], forked
    assert "conv2_3x3_reg-s0 is finished; run " in forked[2][1]
    monkeypatch.setattr(forkserver, "FORKS", False)
    (tmp_path / "other").mkdir()
    code, said = run_cell([*words, "1"], make_environment(tmp_path / "other"))
    assert code == 0, said
    assert read_weights(said) == read_weights(forked[1][1]) != read_weights(forked[0][1])


def read_weights(said: str) -> str:
    return said.partition("weights sha256 ")[2].split()[0]


@pytest.mark.slow
def test_a_cell_whose_fork_server_is_killed_is_run_by_a_new_interpreter(
    words: list[str], tmp_path: Path, ended: None
) -> None:
    environment = make_environment(tmp_path)
    assert run_cell([*words, "0"], environment)[0] == 0
    process = psutil.Process(forkserver._threads.server.process.pid)

    def kill_both() -> None:
        deadline = time.monotonic() + 60
        while not process.children() and time.monotonic() < deadline:
            time.sleep(0.05)
        (cell,) = process.children()
        process.kill()
        cell.kill()

    killer = threading.Thread(target=kill_both)
    killer.start()
    code, said = run_cell([*words, "1"], environment)
    killer.join()
    assert code == 0, said
    assert "weights sha256 " in said


def test_another_environment_has_another_fork_server(tmp_path: Path, ended: None) -> None:
    first = ForkServer({**os.environ, "A": "1"})
    try:
        assert first.serves({**os.environ, "A": "1"})
        assert not first.serves({**os.environ, "A": "2"})
    finally:
        first.end()
    assert not first.serves({**os.environ, "A": "1"})
