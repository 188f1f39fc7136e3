from __future__ import annotations

import json
import sys
from html import unescape
from pathlib import Path

import pytest

from pipeline.tracking.runs import read_runs
from pipeline.tracking.store import find_experiment, open_store
from tests.conftest import entered, refuse, succeed
from tests.report.pages import Page
from tests.tracking.planted import declare_frozen, plant_study

pytestmark = pytest.mark.usefixtures("undrawn", "store_uri")
NAME = "study-reported"
EVIL = '<script>alert("1")</script>'
TOML = f"""
name = "{NAME}"
description = "Two twins <b>planted</b>"
variants = ["conv2_3x3", "conv2_3x3_reg"]
seeds = [0, 1, 2, 3, 4]
settings = {{ epochs = 4, subset = 600 }}
claims = [ {{ name = "gap", statement = "It closes", estimand = "gap", direction = "lower", smallest_effect = 0.01 }} ]
"""


@pytest.fixture(scope="module")
def study(store_folder: Path) -> str:
    """The id of an experiment with one pair of twins and five seeds, one run of it with a hostile name and commit."""
    with entered(store_folder):
        store = open_store()
        experiment_id = plant_study(store, NAME, ("conv2_3x3", "conv2_3x3_reg"), range(5))
        runs = read_runs(store, experiment_id).query("variant == 'conv2_3x3' and seed == 0 and epochs == 4")
        run_id = runs["run_id"].item()
        for name in ("mlflow.runName", "mlflow.source.git.commit", "outcome.reason", "mlflow.note.content"):
            store.client.set_tag(run_id, name, EVIL)
        store.client.log_text(run_id, '{"cpu": "a processor", "packages": []}', "environment.json")
        store.client.log_text(run_id, "no picture", "figures/weights.png")
        return experiment_id


@pytest.fixture
def declared(study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return declare_frozen(tmp_path / "study.toml", TOML, study)


def test_a_report_is_one_file_and_logged_with_its_comparison(study: str, declared: str, tmp_path: Path) -> None:
    result = succeed("report", declared)
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    run_id = result.stdout.split()[-1]
    assert result.stdout == f"report.html: {len(text.encode()) / 1e6:.1f} MB; report.html logged with run {run_id}\n"
    client = open_store().client
    tags = client.get_run(run_id).data.tags
    assert (tags["kind"], tags["outcome"], tags["verdict.gap"]) == ("compare", "finished", "SUPPORTED")
    assert Path(client.download_artifacts(run_id, "report.html")).read_text() == text
    assert len(page.all("script")) == 1
    assert EVIL not in text
    assert "&lt;script&gt;alert(" in text
    assert "Two twins &lt;b&gt;planted&lt;/b&gt;." in text
    assert "1 of 10 runs recorded their environment." in text
    assert "missing or out of reach" in text  # a text under the name of a picture is none
    assert "-P arch=conv2_3x3_reg -P epochs=4 -P seed=3 -P subset=600 -P threads=1</code>" in text
    verdicts = json.loads(Path(client.download_artifacts(run_id, "verdicts.json")).read_text())["verdicts"]
    assert verdicts[0]["sentence"] in unescape(text)
    result = json.loads(Path(client.download_artifacts(run_id, "conclusion_table.json")).read_text())
    for row in result["rows"]:
        for entry in row["entries"].values():
            if entry["kind"] == "measured" and entry["value"] is not None:
                assert f'data-value="{entry["value"]!r}"' in text


def test_without_claims_it_describes_and_asks_in_the_words_of_compare(study: str, tmp_path: Path) -> None:
    path = tmp_path / "named.html"
    succeed("report", NAME, "--epochs", "4", "--rule", "best", "--output", str(path))
    text = path.read_text()
    assert "No claim was declared: this report describes the runs and judges nothing." in text
    assert "No claim was tested, so there is nothing to check for robustness." in text
    assert 'class="tally"' not in text
    assert "its numbers were chosen on the test images" in text
    assert "nothing is selected" not in text


def test_pdf_is_pdf(study: str, declared: str, tmp_path: Path) -> None:
    pytest.importorskip("plutoprint")
    succeed("report", declared, "--format", "pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert not (tmp_path / "report.html").exists()


def test_pdf_without_its_library_is_one_line_and_no_run(
    study: str, declared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plutoprint", None)
    client = open_store().client
    before = len(client.search_runs([study]))
    line = "Error: PDF output needs an extra package: pip install 'mnist-study-pipeline[pdf]'\n"
    assert refuse("report", declared, "--format", "pdf") == line
    assert len(client.search_runs([study])) == before


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("nowhere",), 1, 'Error: no experiment "nowhere" in the store; it has '),
        (("empty-reported",), 1, "Error: no finished run to compare; train a variant first"),
        ((NAME, "--output", "."), 2, "Error: Invalid value for '--output': File '.' is a directory."),
        ((NAME, "--format", "docx"), 2, "Error: Invalid value for '--format': 'docx' is not one of 'html', 'pdf'."),
    ],
)
def test_what_cannot_be_reported_is_one_line(study: str, arguments: tuple[str, ...], code: int, line: str) -> None:
    client = open_store().client
    find_experiment(open_store(), "empty-reported", create=True)
    before = len(client.search_runs([study]))
    assert refuse("report", *arguments, code=code).startswith(line)
    assert len(client.search_runs([study])) == before
