"""Values that nobody can understand, or that are meant for a terminal: no command stops, and the run is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.entities import RunTag
from mlflow.tracking import MlflowClient

from pipeline.report.text.note import describe_network, write_note
from pipeline.study.experiment import load_experiment
from pipeline.study.variants import find_variant
from pipeline.tracking.frozen import FROZEN, FROZEN_AT, freeze_plan
from pipeline.tracking.runs import read_runs
from pipeline.tracking.store import find_experiment, open_store
from pipeline.tracking.values import read_moment
from tests.conftest import ROOT, SUBSET, call, copy_database, enter, entered, execute, succeed
from tests.tracking.planted import plant_study

pytestmark = pytest.mark.usefixtures("undrawn")
NAMES = ("conv2_3x3", "conv2_3x3_reg")
SEEDS = range(5)
DATABASE = Path("mlflow.db")
ESCAPE = "\x1b]0;owned\x07\x1b[2J\u202e"
TOML = f"""
variants = {list(NAMES)}
seeds = {list(SEEDS)}
settings = {{ epochs = 4, subset = 600, threads = 1, data = "{SUBSET}" }}
claims = [ {{ name = "gap", statement = "closes", estimand = "gap", direction = "lower", smallest_effect = 0.02 }} ]
"""
Bad = Callable[[MlflowClient, str, str], None]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and a study in it, and the study's file."""
    folder = tmp_path_factory.mktemp("values")
    (folder / "told.toml").write_text(TOML)
    with entered(folder):
        experiment_id = plant_study(open_store(), "told", NAMES, SEEDS)
        freeze_plan(open_store(), experiment_id, load_experiment(str(folder / "told.toml")))
    return folder


@pytest.fixture
def study(planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[MlflowClient, str, str]]:
    """(client, id of the experiment, id of one of its runs) of a copy."""
    copy_database(planted / "mlflow.db", tmp_path)
    (tmp_path / "told.toml").write_text(TOML)
    enter(tmp_path, monkeypatch)
    store = open_store()
    experiment_id = find_experiment(store, "told")
    runs = read_runs(store, experiment_id)
    chosen = runs[(runs["outcome"] == "finished") & (runs["epochs"] == 4) & (runs["seed"] == 0)]
    return store.client, experiment_id, str(chosen["run_id"].iloc[0])


def set_param(name: str, value: str) -> Bad:
    statement = "UPDATE params SET value = ? WHERE key = ? AND run_uuid = ?"
    return lambda client, experiment_id, run_id: execute(DATABASE, statement, value, name, run_id)


def set_tag(**tags: str) -> Bad:
    entities = [RunTag(name.replace("__", "."), value) for name, value in tags.items()]
    return lambda client, experiment_id, run_id: client.log_batch(run_id, tags=entities)


def set_on_experiment(name: str, value: str) -> Bad:
    return lambda client, experiment_id, run_id: client.set_experiment_tag(experiment_id, name, value)


def set_metric(value: object) -> Bad:
    def change(client: MlflowClient, experiment_id: str, run_id: str) -> None:
        for table in ("metrics", "latest_metrics"):
            execute(DATABASE, f"UPDATE {table} SET value = ? WHERE key LIKE 'final/%' AND run_uuid = ?", value, run_id)

    return change


def forget_start(client: MlflowClient, experiment_id: str, run_id: str) -> None:
    execute(DATABASE, "UPDATE runs SET start_time = ? WHERE run_uuid = ?", 10**18, run_id)


RUNNING = {"outcome": "running", "pid": "x", "pid_started": "nan", "heartbeat": "garbage", "epoch": "-1"}
LEFT_OUT: dict[str, tuple[Bad, str]] = {
    "epochs": (set_param("epochs", "inf"), 'epochs is "inf"'),
    "seed": (set_param("seed", "1e3"), 'seed is "1e3"'),
    "kernel": (set_param("kernel", "9" * 400), 'kernel is "999'),
    "choice": (set_param("normalization", "l2\x1b[31m"), r'normalization is "l2\x1b[31m"'),
    "metric": (set_metric("high"), 'is "high"'),
    "start": (forget_start, "it has no start"),
}
SURVIVED: dict[str, tuple[Bad, str]] = {
    "heartbeat": (set_tag(heartbeat="garbage"), 'heartbeat is "garbage"'),
    "naive heartbeat": (set_tag(heartbeat="2026-01-02T03:04:05", host="elsewhere", outcome="running"), "heartbeat is"),
    "running": (set_tag(**RUNNING), 'heartbeat is "garbage", epoch is "-1"'),
    "attempt": (set_tag(attempt="x"), 'attempt is "x"'),
    "data": (set_param("data", "it's"), ""),
    "no data": (set_tag(mlflow__source__type="PROJECT"), ""),
    "plan": (set_on_experiment(FROZEN, "{no json"), "its tag plan.frozen is not what was frozen"),
    "nested plan": (set_on_experiment(FROZEN, "[" * 100_00), "its tag plan.frozen is not what was frozen"),
    "moment": (set_on_experiment(FROZEN_AT, "yesterday"), ""),
    "lease": (set_on_experiment("lease.0123456789abcdef.1", "[1, 2]"), "is of nobody"),
    "host": (set_tag(host=ESCAPE, outcome="running", outcome__reason=ESCAPE), ""),
}
COMMANDS = (
    ("status",),
    ("status", "told"),
    ("plan", "told.toml"),
    ("doctor",),
    ("compare", "told.toml"),
    ("compare", "told", "--epochs", "4"),
    ("report", "told", "--epochs", "4"),
    ("promote", "told.toml"),
    ("gate", "told.toml"),
)


TOGETHER = {
    "left out": tuple(LEFT_OUT),
    "survived": ("heartbeat", "naive heartbeat", "running", "attempt", "data", "no data", "host"),
    "of the experiment": ("plan", "moment", "lease"),
    "nested": ("nested plan",),
}
"""Values that are planted together, each in a run of its own: every command is asked once for all of them."""
assert sorted(case for cases in TOGETHER.values() for case in cases) == sorted({**LEFT_OUT, **SURVIVED})


@pytest.mark.parametrize("cases", TOGETHER.values(), ids=TOGETHER)
def test_a_value_that_nobody_can_understand_stops_no_command(
    study: tuple[MlflowClient, str, str], caplog: pytest.LogCaptureFixture, cases: tuple[str, ...]
) -> None:
    from pipeline.tracking import runs

    client, experiment_id, _ = study
    wanted = "epochs == 4 and outcome == 'finished'"
    ids = dict(zip(cases, read_runs(open_store(), experiment_id).query(wanted)["run_id"], strict=False))
    if "no data" in cases:
        execute(DATABASE, "DELETE FROM params WHERE key = 'data' AND run_uuid = ?", ids["no data"])
    for case in cases:
        {**LEFT_OUT, **SURVIVED}[case][0](client, experiment_id, ids[case])
    said = {}
    for command in COMMANDS:
        runs._name_left_out.cache_clear()
        result = call(*command)  # raises what the program does not expect
        said[command] = result.output
        assert result.exit_code in (0, 1, 2), result.output
        assert "Traceback" not in result.output
        raw = [line for line in result.output.splitlines() if not line.isprintable()]
        assert raw == [], command
    for case in cases:
        complaint = {**LEFT_OUT, **SURVIVED}[case][1]
        assert complaint in said["doctor",], case
        assert (f"run {ids[case]} is left out: " in caplog.text) == (case in LEFT_OUT), case
        assert case in (*SURVIVED, "start") or complaint in caplog.text, case
    gone = {*LEFT_OUT, "naive heartbeat", "running", "host"} & set(cases)
    assert len(read_runs(open_store(), experiment_id).query(wanted)) == 10 - len(gone)


@pytest.mark.slow
def test_a_report_on_a_run_without_data_asks_nobody_and_names_what_it_leaves_out(
    study: tuple[MlflowClient, str, str],
) -> None:
    execute(DATABASE, "DELETE FROM params WHERE key = 'data' AND run_uuid = ?", study[2])
    set_tag(mlflow__source__type="PROJECT")(*study)
    store = open_store()
    other = next(run for run in read_runs(store, study[1])["run_id"] if run != study[2])
    set_param("epochs", "inf")(store.client, study[1], other)
    command = [sys.executable, "-m", "pipeline", "report", "told", "--epochs", "4"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,  # open, and nobody writes to it
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.wait(120) == 0
    assert f'run {other} is left out: epochs is "inf"; see `python -m pipeline doctor`' in process.communicate()[1]


def test_a_plan_that_cannot_be_read_makes_every_claim_deviate(study: tuple[MlflowClient, str, str]) -> None:
    assert "DEVIATED" not in call("compare", "told.toml").output
    set_on_experiment(FROZEN, json.dumps({"gap": 3}))(*study)
    result = succeed("compare", "told.toml")
    assert "DEVIATED" in result.output
    assert call("promote", "told").exit_code == 1  # the claims may not be dodged


def test_a_note_reaches_no_markup_raw() -> None:
    import dataclasses

    from pipeline.data.datasets import load_data
    from pipeline.study.metrics import FINALS
    from pipeline.study.settings import Settings

    nasty = "<img src=x onerror=alert(1)> [a](javascript:b) `c` \x1b[2J"
    variant = dataclasses.replace(find_variant("conv2_3x3"), note=nasty)
    dataset = dataclasses.replace(load_data(str(SUBSET), subset=600), name="a`b`` <i>")
    for text in (
        describe_network(variant),
        write_note(variant, Settings(data="a`b"), dataset, dict.fromkeys(map(str, FINALS), 0.5)),
    ):
        assert "<img" not in text.replace(r"\<img", "")
        assert "](" not in text.replace(r"\](", "")
        assert "\x1b" not in text
    assert "``` a`b`` <i> ```" in text


@pytest.mark.parametrize("text", ["", "garbage", "2026-01-02", "2026-01-02T03:04:05", None, "0" * 10_000])
def test_only_a_moment_with_a_zone_is_one(text: str | None) -> None:
    assert read_moment(text) is None
