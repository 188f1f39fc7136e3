from __future__ import annotations

import dask
import psutil
import pytest

from pipeline.errors import CellTaken, StoreUnreachable
from pipeline.sweep import execute
from pipeline.sweep.execute import Job, forward_environment, open_cluster, run_process

JOB = Job(name="conv2_3x3-s0", words=["tiny.toml", "conv2_3x3", "0"], environment={}, attempts=2)


def test_the_cluster_listens_on_this_machine_alone() -> None:
    with open_cluster(2, None):
        here = psutil.Process()
        sockets = [link for each in (here, *here.children(recursive=True)) for link in each.net_connections()]
    listening = {link.laddr.ip for link in sockets if link.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_workers_do_not_watch_themselves_at_the_expense_of_cells() -> None:
    with open_cluster(1, None) as client:
        (told,) = client.run(lambda: {name: dask.config.get(name) for name in execute.CONFIGURATION}).values()
    assert told == execute.CONFIGURATION
    assert not told["distributed.worker.profile.enabled"]


def test_workers_elsewhere_are_told_the_store_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000", "PIPELINE_STORE_PATIENCE": "5"}
    secrets = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_BACKEND_STORE_URI", "HOME_TOKEN")
    for name, value in {**told, **dict.fromkeys(secrets, "canary")}.items():
        monkeypatch.setenv(name, value)
    forwarded = forward_environment()
    assert told.items() <= forwarded.items()
    assert "canary" not in forwarded.values()


@pytest.mark.parametrize(
    ("codes", "starts", "message"),
    [
        ([0], 1, "its last line"),
        ([1, 0], 2, "its last line"),
        ([1, 1], 2, "its last line"),
        ([130], 1, "its last line"),
        ([CellTaken.exit_code], 1, "its last line"),
        ([StoreUnreachable.exit_code] * 3 + [0], 4, "its last line"),
        ([-9, -9], 2, "died of SIGKILL (out of memory?); start the sweep again to go on with it"),
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
