"""The table of settings: what derives from a row, shown by a row that is added to a copy of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ExperimentError
from pipeline.study.facts import describe_settings, restore_settings
from pipeline.study.settings import RULES, Settings, make_settings
from tests.conftest import run_python, slow

WHOLE = 'dropout_rate: int = setting(50, "Percent that a dropout takes.", low=1, high=99, later=True)'
FRACTION = 'dropout_rate: float = setting(0.5, "Share that a dropout takes.", low=0.01, high=0.99, later=True)'
ASK = """
import pathlib, sys, tempfile
from click.testing import CliRunner
from pipeline.analysis.table.selection import newest_settings, select_runs
from pipeline.cli.main import main
from pipeline.errors import ExperimentError
from pipeline.study.experiment import load_experiment
from pipeline.study.facts import describe_settings, describe_variant, restore_settings
from pipeline.study.metrics import FINALS
from pipeline.study.settings import COMPARED, Settings, make_settings
from pipeline.study.variants import find_variant
from pipeline.tracking.columns import PARAMS
from pipeline.tracking.runs import read_runs
from pipeline.tracking.store import open_store
from pipeline.tracking.write.recorder import record_run
from pipeline.training.fingerprint import fingerprint_training

same, allowed, refused, typed, spelt = sys.argv[1:]
value = type(Settings().dropout_rate)(allowed)
row, old, new = find_variant("conv2_3x3"), Settings(), Settings(dropout_rate=value)

options = {name: {param.name for param in main.commands[name].params} for name in ("train", "compare", "report")}
assert all("dropout_rate" in names for names in options.values()), options
for wrong, hint in ((refused, "not in the range"), (typed, f"write {spelt}"), ("nan", "not a")):
    said = CliRunner().invoke(main, ["train", "--dropout-rate", wrong])
    assert said.exit_code == 2 and hint in said.output, said.output

path = pathlib.Path(tempfile.mkdtemp()) / "own.toml"
def declare(text):
    path.write_text(f'variants = ["conv2_3x3"]\\nseeds = [0]\\nsettings = {{ dropout_rate = {text} }}\\n')
    return load_experiment(path).settings
assert declare(allowed) == make_settings(dropout_rate=value) == new
for ask in (lambda: declare(refused), lambda: make_settings(dropout_rate=float(refused))):
    try:
        ask()
    except ExperimentError as error:
        assert "number from" in str(error), error
    else:
        raise AssertionError(refused)

assert describe_settings(new)["dropout-rate"] == value
texts = {name: str(value) for name, value in describe_settings(new).items()}
assert restore_settings(texts) == new
del texts["dropout-rate"]
assert restore_settings(texts) == old
assert new.arithmetic == f"float32, dropout-rate {value}"  # in captions, reports and model cards
assert fingerprint_training(row, new, "a") != fingerprint_training(row, old, "a") == same
assert PARAMS["dropout-rate"] == "dropout_rate" and "dropout_rate" in COMPARED

store = open_store()
def plant(settings):
    with record_run(store, row, settings) as recorder:
        told = describe_settings(settings)
        if settings == old:
            del told["dropout-rate"]  # as a run of an earlier version
        recorder.log_params({**told, **describe_variant(row), "data-sha256": "5" * 64})
        recorder.log(dict.fromkeys(FINALS, 0.5), {}, step=25)
    return recorder.run_id
ids = [plant(old), plant(new)]
runs = read_runs(store, "0").set_index("run_id").loc[ids].reset_index()
assert list(runs["dropout_rate"]) == [old.dropout_rate, value], runs["dropout_rate"]
assert newest_settings(runs).dropout_rate == value
chosen = select_runs(runs, newest_settings(runs))
assert list(chosen.chosen["run_id"]) == ids[1:], chosen.left_out
assert list(chosen.left_out["reason"]) == [f"dropout_rate {old.dropout_rate}, asked {value}"]
"""


@pytest.mark.parametrize(
    ("row", "values"),
    [(WHOLE, ("30", "100", "030", "30")), *slow((FRACTION, ("0.3", "1.5", "0.30", "0.3")))],
    ids=["a whole number", "a number with a point"],
)
def test_a_setting_is_one_row(project: Path, row: str, values: tuple[str, ...]) -> None:
    from pipeline.study.variants import find_variant
    from pipeline.training.fingerprint import fingerprint_training

    table = project / "pipeline" / "study" / "settings.py"
    before = table.read_text()
    table.write_text(before.replace("\n\nRULES: Mapping", f"    {row}\n\n\nRULES: Mapping"))
    assert table.read_text() != before
    same = fingerprint_training(find_variant("conv2_3x3"), Settings(), "a")  # a cell at the default stays finished
    done = run_python(project, "-c", ASK, same, *values, PYTHONPATH=str(project))
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
