"""Wrong input is refused, and `status` answers, before a heavy library is imported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.tracking.store import find_experiment, open_store
from tests.conftest import ROOT, call, run_python, write_study

HEAVY = {"tensorflow", "keras", "mlflow", "pandas", "matplotlib", "distributed", "scipy"}
CODE = f"""
import json, sys
from click.testing import CliRunner
from pipeline.cli.main import main
for words in json.loads(sys.argv[1]):
    result = CliRunner().invoke(main, words, prog_name="python -m pipeline")
    print(json.dumps([result.output, result.exit_code, sorted({HEAVY} & set(sys.modules))]))
"""


@pytest.fixture
def folder(empty: Path) -> Path:
    """A folder with the study's files and a store with the experiment "tiny"."""
    shutil.copytree(ROOT / "experiments", empty / "experiments")
    find_experiment(open_store(), "tiny", create=True)
    return empty


def run_alone(folder: Path, *commands: str) -> list[tuple[str, int, list[str]]]:
    """What commands print in a new process, their exit codes, and the heavy libraries that are imported by then."""
    done = run_python(folder, "-c", CODE, json.dumps([command.split() for command in commands]))
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


NO_FILE = "cannot be read (No such file or directory)"
UNKNOWN = "in the store; did you mean tiny? it has Default, tiny"


REFUSED = {
    "plan experiments/smok.toml": f"experiments/smok.toml: {NO_FILE}; did you mean experiments/smoke.toml?",
    "sweep smoke": f"smoke: {NO_FILE}; did you mean experiments/smoke.toml?",
    "replay far/away.toml": f"far/away.toml: {NO_FILE}; give a TOML file",
    "compare smoke": (
        'no run of "smoke" in the store yet; start with: python -m pipeline sweep experiments/smoke.toml'
    ),
    "status tiny2": f'no experiment "tiny2" {UNKNOWN}',
    **{f"{name} tinny": f'no experiment "tinny" {UNKNOWN}' for name in ("doctor", "report", "promote")},
    "gate tiny --against none.json": "none.json: No such file or directory",
    "plan experiments/smoke.toml --seeds 9": "seeds [9] are not declared in smoke; it has [0]",
    "sweep experiments/smoke.toml --budget 2": '"2" is not a duration; write it as 90s, 30m, 2h or 1d',
    "bundle import none.zip": "none.zip: No such file or directory",
    "publish --table none.toml": f"none.toml: {NO_FILE}; give a TOML file",
    "predict none.png": "none.png: No such file or directory",
}


def test_wrong_input_is_refused_at_once(folder: Path) -> None:
    said = dict(zip(REFUSED, run_alone(folder, *REFUSED), strict=True))
    assert said == {command: (f"Error: {line}\n", 1, []) for command, line in REFUSED.items()}


def test_status_of_a_sqlite_store_needs_no_mlflow(folder: Path) -> None:
    said = "experiment  finished  running  stopped  failed\ntiny        0         0        0        0\n"
    assert run_alone(folder, "status tiny") == [(said, 0, [])]


def test_a_plan_makes_no_experiment(folder: Path, unprobed: None) -> None:
    assert call("plan", str(write_study(folder / "new.toml"))).exit_code == 0
    assert call("status").output.splitlines()[1:3] == [
        "Default     0         0        0        0",
        "tiny        0         0        0        0",
    ]
