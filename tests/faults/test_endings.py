"""Ways to end that are nobody's fault: workers killed as they start, a reader that leaves, a terminal that closes."""

from __future__ import annotations

import gc
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest
from mlflow.tracking import MlflowClient

from pipeline.sweep.execute import open_cluster
from pipeline.tracking.store import open_store
from tests.conftest import ROOT, SUBSET, Start, call, clear_environment, run_python, slow

SHORT = ("--subset=600", "--epochs=1", "--batch-size=300", f"--data={SUBSET}")
WORKER = "multiprocessing.spawn"


def find_workers() -> list[psutil.Process]:
    """The children of this process that Dask has started to be workers."""
    found = []
    for child in psutil.Process().children():
        try:
            found += [child] if any(WORKER in word for word in child.cmdline()) else []
        except psutil.Error:
            continue
    return found


@contextmanager
def killing(number: int) -> Iterator[None]:
    """Kill so many workers, each as soon as it is there."""
    ended = threading.Event()

    def kill() -> None:
        killed: set[int] = set()
        while len(killed) < number and not ended.wait(0.02):
            for worker in find_workers():
                if worker.pid not in killed and len(killed) < number:
                    worker.kill()
                    killed.add(worker.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_worker_that_is_killed_as_it_starts_is_started_again() -> None:
    with killing(1), open_cluster(1, None) as client:
        assert client.submit(os.getpid).result(120) in {worker.pid for worker in find_workers()}
    gc.collect()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_worker_that_dies_while_it_restarts_is_replaced() -> None:
    with open_cluster(1, None) as client:
        first = client.submit(os.getpid, pure=False).result(120)
        with killing(4):  # it, and those that Dask starts in its place, until Dask gives up
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and first in {worker.pid for worker in find_workers()}:
                time.sleep(0.1)
            time.sleep(5)
        assert client.submit(os.getpid, pure=False).result(120) != first
    gc.collect()


TRAIN = (sys.executable, "-m", "pipeline", "train", *SHORT)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start a program with pipes, and with a store in a folder of its own."""
    more = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}", "OPENBLAS_NUM_THREADS": "1"}
    environment = clear_environment(PYTHONPATH=str(ROOT), **more)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return partial(subprocess.Popen, cwd=tmp_path, env=environment, **pipes)


def read_states(folder: Path) -> list[tuple[str, str]]:
    """(status, outcome) of every run of the store in a folder."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    return [(run.info.status, run.data.tags.get("outcome", "")) for run in client.search_runs(["0"])]


@pytest.mark.slow
def test_a_reader_that_leaves_ends_no_training(tmp_path: Path, start: Start) -> None:
    process = start(TRAIN)
    assert process.stdout.readline().startswith("conv2_3x3, seed 0")
    process.stdout.close()  # as `| head -1` does
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(200), said) == (0, "")
    assert read_states(tmp_path) == [("FINISHED", "finished")]


def test_a_list_that_nobody_reads_to_its_end_is_no_failure(start: Start) -> None:
    command = f"{shlex.quote(sys.executable)} -m pipeline variants | true; exit ${{PIPESTATUS[0]}}"
    process = start(["bash", "-c", command])
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")


@pytest.mark.slow
def test_a_folder_of_runs_that_is_read_only_leaves_no_run_open(tmp_path: Path, start: Start) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        pytest.skip("this machine lets no user mount a folder")
    lock = "mount --bind mlruns mlruns && mount -o remount,bind,ro mlruns"
    make = shlex.join([sys.executable, "-c", "from pipeline.tracking.store import open_store; open_store()"])
    process = start(["unshare", "-Urm", "bash", "-c", f"{make} && {lock} && {shlex.join(TRAIN)}"])
    _, said = process.communicate(timeout=200)
    assert process.returncode == 1
    (line,) = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert "mlruns" in line
    assert "Traceback" not in said
    assert [status for status, _ in read_states(tmp_path)] in ([], ["FAILED"])


def limit(megabytes: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (megabytes * 2**20,) * 2)


@pytest.mark.parametrize("megabytes", [400, *slow(1000)])
def test_a_library_that_finds_no_memory_is_one_line(start: Start, megabytes: int) -> None:
    process = start(TRAIN, preexec_fn=limit(megabytes))
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert "Traceback" not in said
    assert [line for line in said.splitlines() if line.startswith("Error: ")], said


MADE = """
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.tracking.store import open_store
from pipeline.tracking.write.recorder import record_run

with record_run(open_store(), find_variant("conv2_3x3"), Settings()):
    pass
"""


def test_a_process_that_is_killed_as_its_run_is_made_leaves_no_run_open(empty: Path) -> None:
    done = run_python(empty, "-c", MADE, FAULT="run-created:1:kill")
    assert done.returncode == -signal.SIGKILL, done.stderr
    (run,) = open_store().client.search_runs(["0"])
    assert run.info.status == "RUNNING"
    fixed = call("doctor", "--fix")
    assert (fixed.exit_code, fixed.output.count("ended as killed")) == (0, 1), fixed.output
    (run,) = open_store().client.search_runs(["0"])
    assert (run.info.status, run.data.tags["outcome"]) == ("KILLED", "killed")


SWALLOWED = """
import os, signal, time
from pipeline import interrupts

class Signalled:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

interrupts.install()
Signalled()
time.sleep(300)
"""


def test_a_signal_that_a_destructor_swallows_is_raised_again(tmp_path: Path) -> None:
    done = run_python(tmp_path, "-c", SWALLOWED)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "pipeline.errors.RunKilled: 15"
    assert "Exception ignored" not in done.stderr
