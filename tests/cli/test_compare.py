from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline import api
from pipeline.errors import AnalysisError, ResumeError
from pipeline.tracking.frozen import FROZEN, FROZEN_AT
from pipeline.tracking.store import find_experiment, open_store
from tests.conftest import ROOT, call, entered, refuse, succeed
from tests.tracking.planted import declare_frozen, plant_run, plant_study

pytestmark = pytest.mark.usefixtures("undrawn", "store_uri")
PAIRS = ("conv2_3x3", "conv2_3x3_reg", "conv3_3x3", "conv3_3x3_reg")
CLAIM = 'name = "gap", statement = "Regularisation closes the gap", estimand = "gap", direction = "lower"'
TOML = f"""
name = "study"
variants = {list(PAIRS)}
seeds = [0, 1, 2, 3, 4]
settings = {{ epochs = 4, subset = 600 }}
claims = [ {{ {CLAIM}, smallest_effect = 0.01 }} ]
"""


@pytest.fixture(scope="module")
def study(store_folder: Path) -> str:
    """The id of an experiment with four variants and five seeds."""
    with entered(store_folder):
        return plant_study(open_store(), "study", PAIRS, range(5))


@pytest.fixture
def declared(study: str, tmp_path: Path) -> str:
    return declare_frozen(tmp_path / "study.toml", TOML, study)


def newest_compare_run(study: str) -> tuple[MlflowClient, str]:
    client = open_store().client
    (run,) = client.search_runs([study], "tags.kind = 'compare'", order_by=["attribute.start_time DESC"], max_results=1)
    return client, run.info.run_id


def test_the_table_has_all_rows_and_lists_what_it_leaves_out(study: str) -> None:
    result = call("compare", "study", "--epochs", "4", "--wide")
    lines = result.output.splitlines()
    assert result.exit_code == 0
    assert lines[0].startswith("Conclusion of study: last of 4 epochs, batch size 128, l2 normalisation, float32, 600 ")
    assert lines[2].split()[:4] == ["#ConvNets", "#Kernels/Filters", "Padding", "Stride"]
    assert lines[3].split() == ["conv2_3x3", "2", "3x3", "-", "2x2", "-", "False", "-", *["0.56250"] * 4]
    assert sum("(no run)" in line for line in lines[3:17]) == 10
    assert "No run: conv2_5x5, conv2_5x5_reg, conv3_5x5, conv3_5x5_reg, conv5_3x3" in result.output
    assert "Left out, stopped: KeyboardInterrupt: 1 (" in result.output
    assert "Left out, epochs 5, asked 4: 1 (" in result.output
    assert "Left out, rule newest took another run of its variant: 16 (" in result.output


@pytest.mark.drawn
def test_a_declared_experiment_gets_verdicts_that_are_logged(study: str, declared: str) -> None:
    result = succeed("compare", declared, "--wide")
    assert result.stdout.startswith("SUPPORTED: Regularisation closes the gap\n")
    client, run_id = newest_compare_run(study)
    tags = client.get_run(run_id).data.tags
    assert (tags["verdict.gap"], tags["outcome"], tags["kind"]) == ("SUPPORTED", "finished", "compare")
    files = {file.path for folder in ("", "figures") for file in client.list_artifacts(run_id, folder or None)}
    assert files >= {
        *("conclusion.json", "conclusion.md", "verdicts.json", "pairs.csv"),
        *(f"conclusion_table.{ending}" for ending in ("csv", "md", "tex", "html", "json")),
        *(f"figures/{name}.png" for name in ("losses_notebook", "losses_honest", "gap", "accuracy", "onset")),
    }
    note = client.get_experiment(study).tags["mlflow.note.content"]
    assert "| gap | **SUPPORTED** |" in note
    assert len(note) <= 5000
    (verdict,) = json.loads(Path(client.download_artifacts(run_id, "verdicts.json")).read_text())["verdicts"]
    assert (verdict["n_seeds"], verdict["twins_agree"], verdict["twins"]) == (5, 2, 2)
    assert verdict["effect"] == pytest.approx(-0.15, abs=0.01)
    assert len(verdict["run_ids"]) == 20


def test_a_terminal_gets_the_verdicts_first_and_the_way_on(study: str, declared: str) -> None:
    result = call("compare", declared)
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["claim", "verdict", "effect", "95", "%", "interval", "by", "twin"]
    assert "SUPPORTED" in lines[1]
    assert "2 of 2 lower" in lines[1]
    table = [line.split() for line in lines].index(["variant", "test", "accuracy", "test", "loss", "gap", "n"])
    assert [line.split()[0] for line in lines[table + 1 : table + 5]] == list(PAIRS)
    assert lines[table + 1].split()[-1] == "5"
    assert max(map(len, lines)) <= 80
    client, run_id = newest_compare_run(study)
    assert result.stderr.splitlines()[1:] == [
        f"Next, every number and figure on one page: python -m pipeline report {declared}",
    ]
    client.set_experiment_tag(study, "mlflow.note.content", "another comparison")
    again = call("compare", declared)
    assert again.stderr.splitlines()[0] == f"Logged before as run {run_id}."
    assert (again.stdout, newest_compare_run(study)[1]) == (result.stdout, run_id)
    note = client.get_experiment(study).tags["mlflow.note.content"]
    assert note.startswith("# study: 1 supported\n\nRegularisation lowered the honest loss gap by 0.1")


@pytest.mark.parametrize(("reader", "encoding"), [("true", "utf-8"), ("cat", "ascii")])
def test_a_comparison_is_logged_whoever_reads_it(study: str, declared: str, reader: str, encoding: str) -> None:
    command = f"{shlex.quote(sys.executable)} -m pipeline compare {declared} | {reader}; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "ogged " in done.stderr
    assert newest_compare_run(study)[1] in done.stderr


def test_a_store_that_fails_in_the_middle_is_one_line(study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_it(*_: object) -> None:
        raise MlflowException("the disk is gone\nwith all that was on it")

    monkeypatch.setattr(MlflowClient, "get_experiment", refuse_it)
    assert refuse("compare", "study", "--epochs", "4", code=74) == (
        "Error: the tracking store did not answer: the disk is gone\n"
    )


def test_what_runs_are_not_chosen_by_is_refused_in_python(study: str) -> None:
    with pytest.raises(AnalysisError, match=r'^runs are not chosen by "epoch"; choose one of epochs, '):
        api.compare("study", epoch=4)
    with pytest.raises(ResumeError, match="has its own variant and settings"):
        api.train("conv2_3x3", resume="0" * 32)


def test_claims_frozen_late_say_so_everywhere(study: str, declared: str) -> None:
    client = open_store().client
    client.set_experiment_tag(study, FROZEN_AT, "2100-01-01T00:00:00+00:00")
    result = call("compare", declared, "--wide")
    assert result.stdout.startswith(
        "SUPPORTED (LATE): Regularisation closes the gap\n  LATE: frozen after the first run"
    )
    assert result.stderr.startswith("LATE: frozen after the first run had started")
    _, run_id = newest_compare_run(study)
    tags = client.get_run(run_id).data.tags
    assert tags["verdict.gap"] == "SUPPORTED (LATE)"
    assert "| gap | **SUPPORTED (LATE)** |" in tags["mlflow.note.content"]
    (verdict,) = json.loads(Path(client.download_artifacts(run_id, "verdicts.json")).read_text())["verdicts"]
    assert verdict["standing"] == "late"
    assert verdict["sentence"].startswith("LATE: ")


@pytest.mark.parametrize("command", ["compare", "report", "plan"])
def test_a_reading_command_freezes_nothing(study: str, declared: str, command: str, tmp_path: Path) -> None:
    client = open_store().client
    for tag in (FROZEN, FROZEN_AT):
        client.delete_experiment_tag(study, tag)
    output = {"report": ["--output", str(tmp_path / "page.html")], "compare": ["--wide"]}.get(command, [])
    result = succeed(command, declared, *output)
    assert not {FROZEN, FROZEN_AT} & set(client.get_experiment(study).tags)
    if command == "plan":
        line = "  gap  SUPPORTED in "
        assert any(each.startswith(line) for each in result.stdout.splitlines())
    if command == "compare":
        assert result.stdout.startswith("SUPPORTED (NEVER FROZEN): ")


def test_a_claim_that_changed_after_it_was_frozen_has_deviated(declared: str) -> None:
    call("compare", declared)
    Path(declared).write_text(TOML.replace("smallest_effect = 0.01", "smallest_effect = 0.001"))
    assert call("compare", declared, "--wide").stdout.startswith("DEVIATED: Regularisation closes the gap\n")
    Path(declared).write_text("# a comment changes nothing\n" + TOML)
    assert call("compare", declared, "--wide").stdout.startswith("SUPPORTED: ")


def test_every_number_can_be_traced(study: str) -> None:
    result = call("compare", "study", "--epochs", "4", "--rule", "all-seeds", "--trace", "conv2_3x3", "TEST_LOSS")
    lines = result.output.splitlines()
    assert lines[0] == "conv2_3x3 TEST_LOSS = 0.53125, n = 5"
    assert lines[1].startswith("query: outcome = 'finished' and epochs = 4 and batch_size = 128")
    assert len(lines) == 7


@pytest.mark.parametrize("form", ["csv", "markdown", "latex", "html", "json"])
def test_a_format_goes_to_standard_output_or_a_file(study: str, tmp_path: Path, form: str) -> None:
    path = tmp_path / "table"
    result = succeed("compare", "study", "--epochs", "4", "--format", form, "--output", str(path))
    assert result.stdout == ""
    text = path.read_text()
    assert text.count("0.56250") >= 4 or '"value": 0.5625' in text
    if form == "html":
        assert f"http://127.0.0.1:5000/#/experiments/{study}/runs/" in text


def test_the_gate_passes_the_same_weights_and_fails_others(
    study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = tmp_path / "result.json"
    arguments = ("study", "--epochs", "4", "--rule", "all-seeds", "--format", "json", "--output", str(stored))
    assert call("compare", *arguments).exit_code == 0
    for options, reason in (((), f"failed for {', '.join(PAIRS)}"), (("--allow-missing",), "judged nothing")):
        result = call("gate", "study", "--against", str(stored), *options)
        assert (result.exit_code, result.stderr) == (1, f"Error: the gate {reason}; see above\n")
    find_experiment(open_store(), "nothing-finished", create=True)
    nothing = call("gate", "nothing-finished", "--against", str(stored))
    assert (nothing.exit_code, nothing.stderr) == (1, f"Error: the gate failed for {', '.join(PAIRS)}; see above\n")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "study-again")
    for name in PAIRS:
        plant_run(open_store(), name, 3)
    broken = plant_run(open_store(), "conv2_3x3", 2)
    reports = ("--junit", str(tmp_path / "gate.xml"), "--summary", str(tmp_path / "gate.md"))
    assert call("gate", "study-again", "--against", str(stored), *reports).exit_code == 0
    open_store().client.set_tag(broken, "weights.sha256", "f" * 64)
    failed = call("gate", "study-again", "--against", str(stored), *reports)
    assert failed.exit_code == 1
    assert failed.stderr == "Error: the gate failed for conv2_3x3 seed 2; see above\n"
    assert ET.parse(tmp_path / "gate.xml").getroot().findall(".//failure")
    assert "conv2_3x3" in (tmp_path / "gate.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nowhere",), 'Error: no experiment "nowhere" in the store; it has '),
        (("empty-study",), "Error: no finished run to compare; train a variant first"),
        (("study", "--epochs", "9"), "Error: no finished run with epochs 9 to compare; train a variant first"),
        (("study", "--precision", "mixed_bfloat16"), "Error: no finished run with precision mixed_bfloat16 to compare"),
        (("study", "--jit", "on"), "Error: no finished run with jit on to compare; train a variant first"),
        (("study", "--trace", "x", "TEST_LOSS"), 'Error: "x" is not a row of this table; choose 0 to 13 or conv2_3x3'),
        (("study", "--trace", "²", "TEST_LOSS"), 'Error: "²" is not a row of this table; choose 0 to 13 or conv2_3x3'),
        (("study", "--trace", "0", "X"), 'Error: "X" is not a column of this table; choose one of #ConvNets'),
        (("missing.toml",), "Error: missing.toml: cannot be read (No such file or directory); give a TOML file"),
    ],
)
def test_what_cannot_be_compared_is_one_line(study: str, arguments: tuple[str, ...], line: str) -> None:
    find_experiment(open_store(), "empty-study", create=True)
    assert refuse("compare", *arguments).startswith(line)


def test_a_damaged_result_file_is_one_line(study: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    for content, said in (
        (b"{}", "not a usable result file"),
        (b"\x89PNG\xff", f"{path}: not a usable result file (no text); give one of compare\n"),
    ):
        path.write_bytes(content)
        assert refuse("gate", "study", "--against", str(path)).startswith(f"Error: {said}")


def test_a_tolerance_gates_a_single_stored_seed(study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = tmp_path / "one.json"
    assert call("compare", "study", "--epochs", "4", "--format", "json", "--output", str(stored)).exit_code == 0
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "study-tolerance")
    for name in PAIRS:
        plant_run(open_store(), name, 5)
    arguments = ("gate", "study-tolerance", "--against", str(stored), "--tolerance")
    assert call(*arguments, "final/test_loss=0.1", "--tolerance", "final/test_accuracy=0.1").exit_code == 0
    assert "failed for conv2_3x3 seed 5" in call(*arguments, "final/test_loss=0.001").stderr
    twice = call(*arguments, "final/test_loss=1", "--tolerance", "final/test_loss=2")
    assert '"final/test_loss" has two tolerances; leave one out' in twice.stderr
    assert call(*arguments, "test_loss=1").stderr.startswith('Error: a tolerance for "test_loss" gates nothing')
    for wrong in ("final/test_loss", "final/test_loss=-1", "=0.1", "final/test_loss=nan"):
        refused = call(*arguments, wrong)
        assert (refused.exit_code, refused.output.count("\n")) == (2, 1)
        assert f'"{wrong}" is not a tolerance; write one as final/test_loss=0.01' in refused.output
