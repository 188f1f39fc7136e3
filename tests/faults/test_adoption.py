"""A run id in the environment that is not the launcher's fresh run: nothing is written to it, and nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.tracking.quick import find_journals
from pipeline.tracking.store import open_store
from pipeline.tracking.write.recorder import record_run
from tests.conftest import ROOT, SUBSET, call

UNKNOWN = "0123456789abcdef0123456789abcdef"
ADOPT = """
import sys
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.tracking.write.recorder import record_run
from pipeline.tracking.store import open_store
store = open_store()
print("ready", flush=True)
input()
with record_run(store, find_variant(sys.argv[1]), Settings()) as recorder:
    recorder.log_params({"arch": sys.argv[1]})
    recorder.log({}, {"weights.sha256": sys.argv[1]})
"""


USES: dict[str, tuple[Callable[[MlflowClient, str], object], str]] = {
    "finished": (lambda client, run_id: client.set_terminated(run_id, "FINISHED"), "has ended (FINISHED)"),
    "deleted": (lambda client, run_id: client.delete_run(run_id), "is deleted"),
    "taken up": (lambda client, run_id: client.set_tag(run_id, "kind", "train"), "is in use already"),
    "measured": (lambda client, run_id: client.log_metric(run_id, "loss", 1.0), "is in use already"),
}


@pytest.mark.parametrize("options", [("--data", str(SUBSET)), ("--epochs", "none")])
@pytest.mark.parametrize("case", USES)
def test_a_run_that_is_not_fresh_is_left_as_it_is(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, case: str, options: tuple[str, ...]
) -> None:
    run_id = client.create_run("0", run_name="another's").info.run_id
    use, reason = USES[case]
    use(client, run_id)
    before = client.get_run(run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    result = call("train", *options)
    assert result.exit_code == (1 if "--data" in options else 2)
    assert result.stderr.count("\n") == 1
    if "--data" in options:
        assert f"MLFLOW_RUN_ID names the run {run_id}, which {reason}; unset MLFLOW_RUN_ID" in result.stderr
    after = client.get_run(run_id)
    assert after.to_dictionary() == before.to_dictionary()
    assert find_journals(open_store()) == []


@pytest.mark.parametrize("options", [("--data", str(SUBSET)), ("--epochs", "none"), ("--resume", "nobody")])
def test_an_unknown_run_leaves_nothing(
    store_uri: str, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", UNKNOWN)
    result = call("train", *options)
    assert result.exit_code in (1, 2)
    assert result.stderr.count("\n") == 1
    assert find_journals(open_store()) == []


@pytest.mark.slow
def test_of_two_trainings_with_one_id_one_has_the_run(client: MlflowClient, store_folder: Path) -> None:
    run_id = client.create_run("0").info.run_id
    environment = {**os.environ, "MLFLOW_RUN_ID": run_id, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    names = ("conv2_3x3", "conv7_3x3")
    both = [
        subprocess.Popen([sys.executable, "-c", ADOPT, name], cwd=store_folder, env=environment, text=True, **pipes)
        for name in names
    ]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[1] for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 1], said
    assert "unset MLFLOW_RUN_ID" in said[codes.index(1)]
    run = client.get_run(run_id)
    winner = names[codes.index(0)]
    assert (run.info.status, run.data.params["arch"]) == ("FINISHED", winner)
    assert (run.data.tags["variant"], run.data.tags["weights.sha256"]) == (winner, winner)


def test_a_run_is_adopted_once(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    with record_run(open_store(), find_variant("conv2_3x3"), Settings()) as first:
        assert "MLFLOW_RUN_ID" not in os.environ
    with record_run(open_store(), find_variant("conv2_3x3"), Settings()) as second:
        pass
    assert first.run_id == run_id != second.run_id
    assert not [name for name in client.get_experiment("0").tags if name.startswith("lease.")]
