"""Nasty parameters: what `mlflow run` makes of each -P, and what the commands refuse."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from mlflow.projects.utils import load_project
from mlflow.tracking import MlflowClient

from pipeline.cli.main import main
from pipeline.data.formats import read_path
from pipeline.errors import DataError
from pipeline.plain import escape_controls
from pipeline.study.settings import RULES, name_option
from pipeline.study.variants import TABLE
from pipeline.tracking.store import open_store
from tests.conftest import ROOT, call

NASTY = (
    *("; touch executed", "$(touch executed)", "`touch executed`", "'; touch executed; '", '"; touch executed; "'),
    *("a && touch executed", "a | touch executed", "> executed", "a\ntouch executed", "{arch}", "{0.__class__}"),
    *("$HOME", "~", "*", "\\", "--epochs=1", "-h", "--", "", " ", "\u2028", "\u202e", "é漢😀", "#", "!!", "a" * 5000),
)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
"""Whatever an argument of a process can be."""
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
OPTIONS = tuple(name_option(name) for name in RULES if name != "data")
CHOICES = {choice for rule in RULES.values() for choice in rule.choices}
Run = Callable[[str, dict[str, str]], list[str]]


@pytest.fixture(scope="module")
def run_entry_point(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run an entry point's command as MLflow's local backend does, with a `python` that writes its arguments down."""
    folder = tmp_path_factory.mktemp("recorder")
    recorder = folder / "python"
    recorder.write_text('#!/bin/sh\nprintf \'%s\\0\' "$@" > "$RECORD"\n')
    recorder.chmod(0o755)
    project = load_project(str(ROOT))
    work, record = folder / "work", folder / "record"
    work.mkdir()
    environment = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "RECORD": str(record), "HOME": str(folder)}

    def run(entry_point: str, parameters: dict[str, str]) -> list[str]:
        command = project.get_entry_point(entry_point).compute_command(parameters, None)
        record.unlink(missing_ok=True)
        subprocess.run(["bash", "-c", command], cwd=work, env=environment, check=True)
        assert list(work.iterdir()) == []
        return record.read_bytes().decode().split("\0")[:-1]

    return run


def add_nasty(parameter: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Every nasty text as an example that Hypothesis always tries."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        for text in NASTY:
            test = example(**{parameter: text})(test)
        return test

    return decorate


@MANY
@given(value=TEXT)
@add_nasty("value")
def test_every_parameter_of_main_arrives_as_it_was_given(run_entry_point: Run, value: str) -> None:
    names = list(load_project(str(ROOT)).get_entry_point("main").parameters)
    arguments = run_entry_point("main", {name: f"{value}{number}" for number, name in enumerate(names)})
    assert arguments == [
        *("-m", "pipeline", "train"),
        *(f"--{name}={value}{number}" for number, name in enumerate(names)),
    ]


@MANY
@given(value=TEXT)
@add_nasty("value")
def test_every_parameter_of_the_other_entry_points_arrives_as_it_was_given(run_entry_point: Run, value: str) -> None:
    assert run_entry_point("compare", {"experiment": value}) == ["-m", "pipeline", "compare", "--", value]
    assert run_entry_point("sweep", {"experiment": value, "workers": value}) == (
        ["-m", "pipeline", "sweep", f"--workers={value}", "--", value]
    )


@settings(MANY, max_examples=30)
@given(name=TEXT.filter(lambda name: name and "=" not in name), value=TEXT)
@example(name="a; touch executed", value="$(touch executed)")
def test_a_parameter_that_no_entry_point_has_is_quoted_too(run_entry_point: Run, name: str, value: str) -> None:
    assert run_entry_point("smoke", {name: value}) == ["-m", "pipeline", "smoke", f"--{name}", value]


def refuse(*arguments: str) -> Result:
    """The result of a command that must end with one line of an error and no traceback."""
    result = call(*arguments)
    assert result.exit_code in (1, 2)
    assert result.output.startswith("Error: ")
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result


@MANY
@given(value=TEXT.filter(lambda text: not text.isdecimal() and text not in CHOICES))
@add_nasty("value")
@example(value="1e2")
@example(value="nan")
@example(value="0x10")
@example(value="1_0")
@example(value=" 1")
@example(value="+1")
@example(value="-1")
def test_an_option_that_is_no_number_or_choice_is_refused(value: str) -> None:
    for name in OPTIONS:
        assert refuse("train", f"--{name}={value}").exit_code == 2


@MANY
@given(value=TEXT.filter(lambda text: text not in {variant.name for variant in TABLE}))
@add_nasty("value")
def test_an_arch_that_is_no_variant_is_refused(value: str) -> None:
    result = refuse("train", f"--arch={value}")
    assert result.exit_code == 1
    assert result.stderr.startswith(f'Error: "{escape_controls(value)}" is not a variant; ')


@settings(MANY, max_examples=30)
@given(value=TEXT)
@add_nasty("value")
def test_data_that_is_no_file_is_refused(tmp_path: Path, value: str) -> None:
    assume(len(value.encode()) < 200)
    with pytest.raises(DataError):
        read_path(tmp_path / f"x{value}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("typed", ["3.0", "03", "+3", " 3", "3_0", "\uff13"])
def test_a_number_written_in_another_way_is_refused_before_it_meets_the_launchers(
    store_uri: str, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    client: MlflowClient = open_store().client
    run_id = client.create_run("0").info.run_id
    client.log_param(run_id, "epochs", typed)  # as `mlflow run -P epochs=...` does
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    result = refuse("train", f"--epochs={typed}")
    assert result.exit_code == 2
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["outcome"]) == ("FAILED", "failed")
    assert "Invalid value for '--epochs'" in run.data.tags["outcome.reason"]
    assert run.data.params == {"epochs": typed}


def test_every_option_of_a_run_is_tried_here() -> None:
    names = {option.name.replace("_", "-") for option in main.commands["train"].params if option.name}
    assert names == {*OPTIONS, "arch", "data", "resume", "variants"}
