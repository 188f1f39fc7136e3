"""What the repository publishes is what its evidence gives, in a store that has nothing else."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from pipeline.report.text.escape import escape_markdown
from pipeline.report.text.numbers import format_effect, say_unit
from pipeline.report.text.sentences import say_finding, say_verdict
from pipeline.workflows.compare import find_comparison
from pipeline.workflows.report import _name_by_origin
from tests.conftest import ROOT, call, entered, succeed

EVIDENCE = sorted((ROOT / "experiments" / "results").glob("*.zip"))


def drop_pictures(page: Path) -> str:
    """A report without its pictures, which another Matplotlib may draw otherwise."""
    return re.sub(r'src="data:image/[^"]*"', "", page.read_text())


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a store with the repository's evidence."""
    folder = tmp_path_factory.mktemp("evidence")
    with entered(folder):
        result = succeed("bundle", "import", *map(str, EVIDENCE))
    assert len(re.findall(r"^[\w.-]+-s\d+: run [0-9a-f]{32}$", result.output, re.MULTILINE)) > 1
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture
def store(imported: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", imported)


def test_the_published_results_are_those_of_the_evidence(store: None, tmp_path: Path) -> None:
    page, results = tmp_path / "own.md", tmp_path / "docs" / "results.md"
    page.write_text("# Mine\n<!-- results -->\nold\n<!-- end of results -->\nmore\n")
    succeed("publish", "--output", str(results), "--readme", str(page))
    assert results.read_text() == (ROOT / "docs" / "results.md").read_text()
    before, table, after = re.split("<!-- (?:end of )?results -->\n", page.read_text())
    assert (before, after) == ("# Mine\n", "more\n")
    assert table.startswith("| variant | test accuracy | notebook |")
    assert "old" not in table
    assert table in (ROOT / "README.md").read_text()
    picture = "images/losses.png"
    assert f"]({picture})" in results.read_text()
    assert f"](docs/{picture})" in table
    with Image.open(results.parent / picture) as drawn, Image.open(ROOT / "docs" / picture) as published:
        assert drawn.size == published.size
        if drawn.info["Software"] == published.info["Software"]:  # another Matplotlib may draw otherwise
            assert drawn.tobytes() == published.tobytes()
    report = results.parent / "report.html"
    assert report.exists() == (ROOT / "docs" / "report.html").exists()
    if report.exists():
        assert drop_pictures(report) == drop_pictures(ROOT / "docs" / "report.html")
    page.write_text("<!-- results -->\n<!-- end of results -->\n")
    succeed("publish", "--output", str(results), "--readme", str(page))
    assert page.read_text() == f"<!-- results -->\n{table}<!-- end of results -->\n"


def test_the_seconds_of_an_epoch_are_those_of_the_fastest_one() -> None:
    table = (ROOT / "docs" / "results.md").read_text()
    with zipfile.ZipFile(ROOT / "experiments" / "results" / "mnist14.zip") as evidence:
        runs = json.loads(evidence.read("manifest.json"))["runs"]
    for run in runs:
        fastest = min(float(seconds) for _, _, seconds in run["metrics"]["time/epoch_seconds"])
        assert re.search(rf"^\| `{run['params']['arch']}` \|.*\| {fastest:.0f} \|$", table, re.MULTILINE)


def test_judged_claims_are_published_with_their_report(store: None, tmp_path: Path) -> None:
    claims, page, results = "experiments/pairs.toml", tmp_path / "README.md", tmp_path / "docs" / "results.md"
    page.write_text("<!-- results -->\n<!-- end of results -->\n")
    succeed("publish", "--claims", claims, "--output", str(results), "--readme", str(page))
    succeed("report", claims, "--output", str(tmp_path / "report.html"))
    comparison = find_comparison(claims).comparison
    published, written = (
        re.sub('<p class="soft" id="written">.*</p>\n', "", drop_pictures(page))
        for page in (results.parent / "report.html", tmp_path / "report.html")
    )
    for run_id, origin in zip(comparison.runs["run_id"], comparison.runs["origin"], strict=True):
        assert run_id in written  # an import gives it, so that it says nothing to whoever imports again
        written = written.replace(run_id, origin)
    assert published == written
    verdicts = comparison.verdicts
    assert len(verdicts) > 1
    for verdict in verdicts:
        assert f"- **{verdict.name}: {verdict.word}.** {escape_markdown(say_verdict(verdict))}\n" in results.read_text()
        assert f"- **{verdict.name}: {verdict.word}.** {escape_markdown(verdict.statement)}.\n" in page.read_text()
    for text, link in ((results.read_text(), "report.html"), (page.read_text(), "docs/report.html")):
        assert f"{escape_markdown(say_finding(verdicts))} [The report]({link}) " in text


def test_another_table_is_described_as_what_it_is(store: None, tmp_path: Path) -> None:
    other = "experiments/pairs.toml"
    succeed("publish", "--table", other, "--claims", other, "--output", str(tmp_path / "results.md"))
    said = "30 of 30 runs, the newest of 5 seeds, after the last of 18 epochs on 3,000 training images; "
    assert said in (tmp_path / "results.md").read_text()
    assert (tmp_path / "results.md").read_text().count("- `pairs`: 30 of 30 runs; ") == 2


def test_no_verdict_is_published_before_the_first_look(store: None, tmp_path: Path) -> None:
    declared = (ROOT / "experiments" / "pairs.toml").read_text()
    later = declared.replace("seeds = [0, 1, 2, 3, 4]", "seeds = [0, 1, 2, 3, 4, 5]\nlooks = [6]")
    assert later != declared
    (tmp_path / "pairs.toml").write_text(later)
    results = tmp_path / "results.md"
    succeed("publish", "--claims", str(tmp_path / "pairs.toml"), "--output", str(results))
    assert "The claims are not decided yet: 30 of 36 runs of their twins have finished." in results.read_text()
    assert "UNTESTABLE" not in results.read_text()
    assert not (tmp_path / "report.html").exists()


def test_evidence_counts_as_finished(store: None, unprobed: None) -> None:
    plan = call("plan", "experiments/mnist14.toml").output
    done = re.search(r"^14 cells: (\d+) finished, 0 running, 0 stopped, (\d+) to do$", plan, re.M)
    assert done
    assert int(done[1]) + int(done[2]) == 14
    assert int(done[1]) > 1
    assert call("doctor").output.startswith("healthy: ")


def test_a_file_without_marks_is_refused(store: None, tmp_path: Path) -> None:
    (tmp_path / "own.md").write_text("# Mine\n")
    result = call("publish", "--output", str(tmp_path / "results.md"), "--readme", str(tmp_path / "own.md"))
    assert result.exit_code == 1
    assert "has no line <!-- results --> with <!-- end of results --> below it; add both" in result.stderr


def test_the_readmes_verdicts_are_those_of_the_evidence(store: None) -> None:
    comparison = find_comparison("experiments/pairs.toml").comparison
    stored = json.loads((ROOT / "experiments" / "results" / "pairs.json").read_text())
    assert comparison.conclusion.sha256 == stored["sha256"]
    readme = " ".join((ROOT / "README.md").read_text().split())
    for verdict in comparison.verdicts[:2]:
        effect, low, high = (format_effect(value, verdict) for value in (verdict.effect, *verdict.interval_95))
        assert f"{effect} {say_unit(verdict)} (95 % CI {low} to {high}): {verdict.outcome}." in readme


def test_the_readme_says_of_the_twins_what_the_evidence_gives(store: None) -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    comparison = find_comparison("experiments/twins.toml").comparison
    (error,) = (verdict for verdict in comparison.verdicts if verdict.name == "C2 test error")
    effects = {twin.twin: 100 * twin.effect for twin in error.by_twin}
    high = f"{effects.pop('conv3_3x3'):.2f} and {effects.pop('conv5_3x3_plain'):.2f} points"
    assert f"rises by {high} for the 3x3 networks of 3 and 5 convolutions, and falls or stays the same" in readme
    assert max(effects.values()) < 0.005
    table = find_comparison("experiments/mnist14.toml").comparison.runs
    repeated = comparison.runs[comparison.runs["weights_sha256"].isin(table["weights_sha256"])]
    assert set(repeated["seed"]) == {0}
    assert len(repeated) == 9
    assert "Nine runs of seed 0 repeat a run of the table bit for bit" in readme
    (without,) = (verdict.without for verdict in find_comparison("experiments/pairs.toml").comparison.verdicts[1:2])
    assert without
    assert f"error rises by {100 * without.effect:.2f} points" in readme
    remarks = (ROOT / "docs" / "results.md").read_text()
    assert "only the regularised one has dropout, L2, he_normal and batch normalisation" in remarks
    (gap,) = (each for each in comparison.specifications if each.verdict.name == "C1 gap")
    last = next(choice for choice in gap.choices if choice.label == "last epoch")
    assert f"the last epoch's own on all of them: C1 gap {last.effect:.4f} nats ({last.outcome})" in remarks


def test_only_an_id_takes_the_place_of_an_id_on_the_page() -> None:
    own, first = "a" * 32, "b" * 32
    runs = pd.DataFrame({"run_id": [own, "c" * 32, "d" * 32], "origin": [first, "<script>", ""]})
    assert _name_by_origin(" ".join(runs["run_id"]), runs) == f"{first} {'c' * 32} {'d' * 32}"
