from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client, LocalCluster

from pipeline.errors import CellTaken, StoreUnreachable
from pipeline.sweep import execute
from pipeline.sweep.execute import Job, open_cluster, run_process
from tests.conftest import ROOT, call, run_python, write_study

JOB = Job(name="conv2_3x3-s0", words=["tiny.toml", "conv2_3x3", "0"], environment={}, attempts=2)


def find_ports() -> dict[int, str]:
    """Where this process and its children listen: the host by port."""
    here = psutil.Process()
    sockets = [link for each in (here, *here.children(recursive=True)) for link in each.net_connections()]
    return {link.laddr.port: link.laddr.ip for link in sockets if link.status == psutil.CONN_LISTEN}


def attack() -> str:
    """What obeys another user who tries every port, as far as this process may become one."""
    other = ["setpriv", "--reuid=65534", "--clear-groups"] if not os.geteuid() and shutil.which("setpriv") else []
    program = [sys.executable, "-c", (ROOT / "tests" / "faults" / "intruder.py").read_text()]
    done = subprocess.run(
        [*other, *program, *map(str, find_ports())], cwd="/", capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Dask drops a refused socket
def test_the_cluster_listens_on_this_machine_alone_and_obeys_nobody_else() -> None:
    with LocalCluster(processes=True, n_workers=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"):
        assert attack().count(f"obeyed as {os.geteuid()}") >= 3, "scheduler, nanny and worker: the attack itself works"
    with open_cluster(1, None) as client:
        assert set(find_ports().values()) == {"127.0.0.1"}
        assert attack() == ""
        assert client.submit(os.getpid).result(60) != os.getpid()
    gc.collect()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Client]:
    with open_cluster(1, None) as client:
        yield client


def test_the_cluster_has_no_web_pages(cluster: Client) -> None:
    (worker,) = cluster.scheduler_info()["workers"].values()
    for port in (cluster.cluster.scheduler.http_server.port, worker["services"]["dashboard"]):
        for page in ("status", "info/main/workers.html", "json/identity.json", "metrics", "proxy/22/127.0.0.1/x"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=10)


def test_workers_do_not_watch_themselves_at_the_expense_of_cells(cluster: Client) -> None:
    (told,) = cluster.run(lambda: {name: dask.config.get(name) for name in execute.CONFIGURATION}).values()
    assert told == execute.CONFIGURATION
    assert not told["distributed.worker.profile.enabled"]


@pytest.mark.parametrize(
    ("codes", "starts", "message"),
    [
        ([0], 1, "its last line"),
        ([1, 0], 2, "its last line"),
        ([1, 1], 2, "its last line"),
        ([130], 1, "stopped by SIGINT; start the sweep again to continue it"),
        ([CellTaken.exit_code], 1, "its last line"),
        ([StoreUnreachable.exit_code] * 3 + [0], 4, "its last line"),
        ([-9, -9], 2, "died of SIGKILL (out of memory?); start the sweep again to continue it"),
    ],
)
def test_only_a_failure_counts_as_an_attempt(
    codes: list[int], starts: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(codes)
    started: list[str] = []

    def answer(job: Job) -> tuple[int, list[str]]:
        started.append(job.name)
        return next(answers), ["a line", "its last line"]

    monkeypatch.setattr(execute, "start_cell", answer)
    monkeypatch.setattr(execute, "PAUSE_SECONDS", 0.0)
    report = run_process(JOB)
    assert (report.returncode, len(started), report.message) == (codes[-1], starts, message)


def test_a_store_that_stays_away_ends_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        execute, "start_cell", lambda job: (StoreUnreachable.exit_code, ["the tracking store is unreachable"])
    )
    monkeypatch.setattr(execute, "UNREACHABLE_SECONDS", 0.0)
    assert run_process(JOB).returncode == StoreUnreachable.exit_code


def test_each_outage_of_a_store_has_its_own_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = iter([(StoreUnreachable.exit_code, 5.0), (StoreUnreachable.exit_code, 10_000.0), (0, 5.0)])
    now = [0.0]

    def start(job: Job) -> tuple[int, list[str]]:
        code, seconds = next(ended)
        now[0] += seconds
        return code, ["its last line"]

    monkeypatch.setattr(execute, "start_cell", start)
    monkeypatch.setattr(execute.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(execute.time, "sleep", lambda seconds: None)
    assert run_process(replace(JOB, attempts=1)).returncode == 0


def test_a_scheduler_without_tls_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_uri: str) -> None:
    monkeypatch.setattr(execute, "CONNECT_SECONDS", 1)
    path = write_study(tmp_path / "tiny.toml", epochs=1)
    for scheme in ("tcp", "tls"):
        result = call("sweep", str(path), "--scheduler", f"{scheme}://127.0.0.1:9")
        assert result.exit_code == 1
        assert ("Warning: without tls:// anyone who can reach" in result.stderr) == (scheme == "tcp")
        said = {
            "tcp": "Error: no Dask scheduler answers at tcp://",
            "tls": "Error: Dask has no TLS certificates for tls://",
        }
        assert result.stderr.splitlines()[-1].startswith(said[scheme])


@pytest.mark.parametrize("option", [("--workers", "2"), ("--budget", "2h")])
def test_what_is_about_this_machine_is_refused_beside_a_scheduler(tmp_path: Path, option: tuple[str, str]) -> None:
    path = write_study(tmp_path / "tiny.toml", epochs=1)
    result = call("sweep", str(path), "--scheduler", "tls://127.0.0.1:9", *option)
    said = "--budget and --workers are about this machine; leave them out beside --scheduler"
    assert (result.exit_code, result.stderr) == (2, f"Error: {said} (see python -m pipeline sweep --help)\n")


BLOCKED = """
import re, signal
from pathlib import Path
from pipeline.sweep.execute import open_cluster

def read_blocked():
    return int(re.search(r"SigBlk:\\s*(\\w+)", Path("/proc/self/status").read_text())[1], 16)

if __name__ == "__main__":
    with open_cluster(1, None) as client:
        (mask,) = client.run(read_blocked).values()
    print([name for name in ("SIGINT", "SIGTERM", "SIGHUP") if mask >> (getattr(signal, name) - 1) & 1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_never_sees_a_signal_that_its_sweep_gets(tmp_path: Path) -> None:
    (tmp_path / "blocked.py").write_text(BLOCKED)
    done = run_python(tmp_path, "blocked.py")  # a new process, whose resource tracker has not started
    assert done.stdout.splitlines()[-1:] == ["['SIGINT', 'SIGTERM', 'SIGHUP']"], done.stderr
