"""The table of settings: what derives from a row, shown by a row that is added to a copy of the project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import ExperimentError
from pipeline.study.facts import describe_settings, restore_settings
from pipeline.study.settings import RULES, Settings, make_settings

ROW = """    dropout_rate_percent: int = setting(50, "Percent that a dropout takes.", low=1, high=99, later=True)


RULES: Mapping"""
ASK = """
import sys, tempfile, pathlib
from pipeline.cli.main import main
from pipeline.study.experiment import load_experiment
from pipeline.study.facts import describe_settings, restore_settings
from pipeline.study.settings import COMPARED, Settings
from pipeline.study.variants import find_variant
from pipeline.tracking.runs import PARAMS
from pipeline.training.fingerprint import fingerprint_training

row, new = find_variant("conv2_3x3"), Settings(dropout_rate_percent=30)
options = {name: {param.name for param in main.commands[name].params} for name in ("train", "compare", "report")}
assert all("dropout_rate_percent" in names for names in options.values()), options
path = pathlib.Path(tempfile.mkdtemp()) / "own.toml"
path.write_text('variants = ["conv2_3x3"]\\nseeds = [0]\\nsettings = { dropout_rate_percent = 30 }\\n')
assert load_experiment(path).settings == new
assert describe_settings(new)["dropout-rate-percent"] == 30
assert restore_settings(describe_settings(new)) == new
assert restore_settings({k: v for k, v in describe_settings(Settings()).items() if "dropout" not in k}) == Settings()
assert PARAMS["dropout-rate-percent"] == "dropout_rate_percent" and "dropout_rate_percent" in COMPARED
assert fingerprint_training(row, new, "a") != fingerprint_training(row, Settings(), "a") == sys.argv[1]
"""


def test_a_setting_is_one_row(project: Path) -> None:
    from pipeline.study.variants import find_variant
    from pipeline.training.fingerprint import fingerprint_training

    table = project / "pipeline" / "study" / "settings.py"
    before = table.read_text()
    table.write_text(before.replace("\n\nRULES: Mapping", ROW))
    assert table.read_text() != before
    same = fingerprint_training(find_variant("conv2_3x3"), Settings(), "a")  # a cell at the default stays finished
    done = subprocess.run([sys.executable, "-c", ASK, same], cwd=project, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_settings_come_back_from_texts() -> None:
    settings = Settings(epochs=3, normalization="scale", data="a b.npz", jit="on")
    facts = describe_settings(settings)
    assert restore_settings(facts) == restore_settings({name: str(value) for name, value in facts.items()}) == settings
    with pytest.raises(KeyError):
        restore_settings({"epochs": 3})


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"epoch": 3}, f'"epoch" is not a setting; choose one of {", ".join(RULES)}'),
        ({"epochs": 0}, "epochs 0 is not allowed; give a whole number from 1 to 10000"),
        ({"epochs": "3"}, "epochs '3' is not allowed; give a whole number from 1 to 10000"),
        ({"jit": "yes"}, "jit 'yes' is not allowed; choose one of off, on"),
    ],
)
def test_a_value_that_is_not_allowed_is_one_line(values: dict[str, object], line: str) -> None:
    with pytest.raises(ExperimentError) as refusal:
        make_settings(**values)
    assert str(refusal.value) == line
    assert make_settings(epochs=3) == Settings(epochs=3)
