"""A study that somebody brings along: own variants, own experiment file, outside of the project."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from pipeline.data.formats import read_path
from pipeline.study.experiment import load_experiment
from pipeline.study.variants import VARIANTS
from pipeline.tracking.frozen import freeze_plan
from pipeline.tracking.store import find_experiment, open_store
from pipeline.tracking.write.recorder import Recorder
from pipeline.tracking.write.resume import find_resumable
from tests.cli.test_resume import interrupt
from tests.conftest import SUBSET, call, enter, entered, read_run_id, refuse, succeed, undraw
from tests.serving.pictures import draw, save

pytestmark = pytest.mark.usefixtures("undrawn")
TABLES = """
[[variant]]
name = "tiny"
kernel = 3
features = "4 M 8 M"
head = "16"
twin = "tiny_reg"

[[variant]]
name = "tiny_reg"
kernel = 3
features = "4 M D 8 M D"
head = "16 B D"
regularised = true
twin = "tiny"
"""
STUDY = f"""
seeds = [0]
settings = {{ data = "{SUBSET}", subset = 300, epochs = 2 }}
{TABLES}
[[claims]]
name = "gap"
statement = "Regularisation closes the gap of a tiny network too"
estimand = "gap"
direction = "lower"
smallest_effect = 0.02
"""
OPTIONS = ("--data", str(SUBSET), "--subset", "300", "--epochs", "2")


def train(file: Path, arch: str, *more: str) -> Result:
    return call("train", "--variants", str(file), "--arch", arch, *OPTIONS, *more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Somebody's folder: the file of a study, the runs of its two cells, and one more that was interrupted."""
    folder = tmp_path_factory.mktemp("somebody")
    (folder / "mine.toml").write_text(STUDY)
    with entered(folder) as patch:
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
        undraw(patch)
        results = {name: train(folder / "mine.toml", name) for name in ("tiny", "tiny_reg")}
        patch.setattr(Recorder, "end_epoch", interrupt)
        results["killed"] = train(folder / "mine.toml", "tiny", "--seed", "5")
    assert [result.exit_code for result in results.values()] == [0, 0, 143], results["tiny"].output
    return folder, {name: read_run_id(result.output) for name, result in results.items()}


@pytest.fixture
def ids(made: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The run ids, in the folder and its store."""
    enter(made[0], monkeypatch)
    return made[1]


def test_the_cells_that_train_has_made_are_done(ids: dict[str, str]) -> None:
    assert succeed("plan", "mine.toml").output.splitlines() == [
        f"{'tiny-s0':<26}finished  {ids['tiny']}",
        f"{'tiny_reg-s0':<26}finished  {ids['tiny_reg']}",
        "2 cells: 2 finished, 0 running, 0 stopped, 0 to do",
        "What the claims can come to with 1 seed:",
        "  gap  UNTESTABLE: a verdict needs 5 seeds, and the experiment declares 1",
    ]


def test_compare_has_the_declared_rows_alone_and_finds_the_twins(ids: dict[str, str]) -> None:
    result = succeed("compare", "mine.toml", "--wide")
    assert "UNTESTABLE (NEVER FROZEN): Regularisation closes the gap of a tiny network too\n" in result.stdout
    assert "a verdict needs 5 complete seeds, the runs have 1. So far regularisation " in result.stdout
    table = result.stdout.partition("Conclusion of mine")[2].splitlines()
    assert [line.split()[0] for line in table[3:5]] == ["tiny", "tiny_reg"]
    assert "2 runs of 2 variants" in table[0]
    assert f"Left out, not declared in the experiment: 1 ({ids['killed']})" in result.stdout
    assert not set(VARIANTS) & set(result.stdout.split())


def test_without_its_file_the_study_is_told_to_name_it(ids: dict[str, str]) -> None:
    remedy = "train a variant first, or give the experiment's file, which declares tiny, tiny_reg"
    assert refuse("compare", "mine") == f"Error: no finished run to compare; {remedy}\n"


def test_a_changed_row_is_no_longer_the_network_that_was_trained(ids: dict[str, str], tmp_path: Path) -> None:
    store = open_store()
    freeze_plan(store, find_experiment(store, "mine"), load_experiment("mine.toml"))
    path = tmp_path / "mine.toml"
    path.write_text(STUDY.replace('head = "16"', 'head = "24"').replace('"16 B D"', '"24 D"'))
    result = call("compare", str(path))
    assert result.exit_code == 1
    assert result.stderr.endswith("train a variant, or ask for the settings of the newest run\n")
    path.write_text(STUDY.replace('head = "16"', 'head = "24"').replace("twin =", "# twin ="))
    result = succeed("compare", str(path), "--wide")
    assert "DEVIATED (LATE): Regularisation closes the gap of a tiny network too\n" in result.stdout
    left_out = rf"Left out, another network of that name: parameters \d+, now \d+: 1 \({ids['tiny']}\)"
    assert re.search(left_out, result.stdout)
    assert "2 to do" not in call("plan", "mine.toml").output
    assert "2 cells: 1 finished, 0 running, 0 stopped, 1 to do" in call("plan", str(path)).output


def test_the_report_says_how_to_train_each_network_again(ids: dict[str, str]) -> None:
    succeed("report", "mine.toml")
    page = Path("report.html").read_text()
    assert "mlflow run . --env-manager local -P arch=tiny_reg -P variants=mine.toml -P epochs=2" in page
    assert "4 M D 8 M D" in page
    note = open_store().client.get_run(ids["tiny"]).data.tags["mlflow.note.content"]
    assert "`mlflow run . --env-manager local -P arch=tiny -P variants=FILE.toml -P epochs=2" in note


def test_the_gate_judges_own_variants_by_their_file(ids: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("compare", "mine.toml", "--format", "json", "--output", "result.json").exit_code == 0
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "again")
    assert train(Path("mine.toml"), "tiny").exit_code == 0
    Path("again.toml").write_text(STUDY)
    judged = succeed("gate", "--against", "result.json", "--allow-missing", "again.toml", "--summary", "gate.md")
    assert judged.output == "Gate passed: 1 passed, 0 failed, 1 not judged\n"
    assert re.search(r"tiny.*weights_sha256.*pass", Path("gate.md").read_text())
    unknown = call("gate", "--against", "result.json", "--allow-missing", "again")
    assert (unknown.exit_code, unknown.stderr) == (1, "Error: the gate judged nothing; see above\n")


def test_an_own_network_predicts_by_run_and_by_variant(ids: dict[str, str], tmp_path: Path) -> None:
    picture = str(save(draw(read_path(SUBSET).x_test[0], 100, 30, dark_on_light=True), tmp_path / "one.png"))
    by_run = succeed("predict", picture, "--run", ids["tiny_reg"])
    by_file = call("predict", picture, "--variant", "tiny_reg", "--experiment", "mine.toml")
    assert by_file.output == by_run.output
    assert by_run.stderr.startswith(f"tiny_reg, seed 0, 2 epochs; run {ids['tiny_reg']}\n")


def test_a_class_is_no_digit(ids: dict[str, str], tmp_path: Path) -> None:
    """What was trained on Fashion-MNIST is shown the whole picture, and says so."""
    image = read_path(SUBSET).x_test[0]
    picture = str(save(draw(image, 28, 0, dark_on_light=False), tmp_path / "one.png"))
    client = open_store().client
    client.set_tag(ids["tiny"], "data-name", "fashion-mnist-300")  # tags stand above params in a run's facts
    try:
        told = call("predict", picture, "--run", ids["tiny"], "--request")
        said = call("predict", picture, "--run", ids["tiny"])
    finally:
        client.delete_tag(ids["tiny"], "data-name")
    assert said.stdout.split()[:2] == ["class", "picture"]
    seen = json.loads(told.stdout)["inputs"][0]
    assert seen == image.tolist()  # not moved by a pixel


def test_an_interrupted_run_goes_on_without_its_file(ids: dict[str, str]) -> None:
    variant, settings = find_resumable(open_store(), ids["killed"])
    assert (variant.name, variant.features, variant.head, settings.seed) == ("tiny", "4 M 8 M", "16", 5)
    line = f"Error: run {ids['killed']} knows its own variant; leave --variants out beside --resume\n"
    assert refuse("train", "--variants", "mine.toml", "--resume", ids["killed"]) == line
    result = succeed("train", "--resume", ids["killed"])
    assert "tiny, seed 5, 2 epochs; resumes run" in result.output


def test_an_own_champion_needs_five_seeds_too(ids: dict[str, str]) -> None:
    result = call("promote", "mine.toml", "--variant", "tiny")
    assert result.exit_code == 1
    assert 'Error: the claim "gap"' not in result.output
    assert "tiny has 1 finished seeds under the same settings, and a promotion needs 5" in result.output


def test_variants_prints_the_own_ones_behind_the_studys(ids: dict[str, str]) -> None:
    printed = call("variants", "--variants", "mine.toml").output.splitlines()
    assert [line.split()[0] for line in printed] == ["variant", *VARIANTS, "tiny", "tiny_reg"]
    assert printed[-1].endswith("own, twin of tiny")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--variants", "none.toml"), "none.toml: cannot be read (No such file or directory); give a TOML file"),
        (("--arch", "tiny"), '"tiny" is not a variant; choose one of conv2_3x3, '),
        (("--arch", "tinny", "--variants", "mine.toml"), '"tinny" is not a variant; did you mean tiny? choose one of '),
    ],
)
def test_bad_options_are_one_line(ids: dict[str, str], arguments: tuple[str, ...], line: str) -> None:
    assert refuse("train", *arguments).startswith(f"Error: {line}")


@pytest.mark.slow
def test_mlflow_run_and_a_sweep_take_a_file_from_outside(
    project: Path, start: Callable[..., subprocess.Popen[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The launcher and the processes of a sweep find the rows; the sweep's cells carry them to compare."""
    file = tmp_path_factory.mktemp("outside") / "mine.toml"
    file.write_text(STUDY)
    assert not file.is_relative_to(project)
    parameters = ("arch=tiny", f"variants={file}", f"data={SUBSET}", "subset=300", "epochs=1")
    words = [word for parameter in parameters for word in ("-P", parameter)]
    for command, said in (
        (("mlflow", "run", ".", "--env-manager", "local", *words), "tiny, seed 0, 1 epoch; run "),
        (("python", "-m", "pipeline", "sweep", str(file)), "2/2  tiny"),
        (("python", "-m", "pipeline", "status", str(file)), "mine"),
        (("python", "-m", "pipeline", "compare", str(file)), "tiny_reg  "),
        (("python", "-m", "pipeline", "doctor", str(file)), "healthy: 3 runs checked"),
        (("python", "-m", "pipeline", "bundle", "export", str(file), "mine.zip"), 'mine.zip: 2 runs of "mine"'),
    ):
        process = start(*command)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        assert said in output, output
