from __future__ import annotations

import csv
import io
import re

import pytest

from pipeline.analysis.table.conclusion import conclude, load_conclusion
from pipeline.analysis.table.entries import LABELS
from pipeline.analysis.table.selection import select_runs
from pipeline.cli.results.compare import FORMATS
from pipeline.report.pages.table import FORMS, NO_RUN, render_table, tabulate
from pipeline.report.text.escape import escape_latex, escape_markdown
from pipeline.study.metrics import FINALS
from pipeline.study.variants import VARIANTS
from tests.frames import PUBLISHED_NAMES, make_runs
from tests.report.pages import Page

HEADER = (
    "#ConvNets,#Kernels/Filters,Padding,Stride,Dropout,BatchNormalization,Regularization,"
    "TRAIN_LOSS,TEST_LOSS,TRAIN_ACC,TEST_ACC"
)
NASTY = 'a|b_c & 50% #1 {x} ~^\\ <script>alert("1")</script>\n\\input{secret}'
LINK = "http://localhost:5000/#/runs/{run_id}"


def build(runs=None, rule="newest", **options):
    return conclude(select_runs(make_runs() if runs is None else runs, rule=rule), **options)


def test_csv_is_the_notebooks_table_to_the_letter():
    runs = make_runs(["conv2_3x3"], **{
        "final/train_loss": 0.0043,
        "final/test_loss": 0.056394415135847066,
        "final/train_accuracy": 0.9987,
        "final/test_accuracy": 0.9883,
    })  # fmt: skip
    lines = render_table(build(runs), "csv").splitlines()
    assert lines[0] == HEADER
    assert lines[1] == "2,3x3,-,2x2,-,False,-,0.00430,0.05639,0.99870,0.98830"
    assert lines[8] == f"3,5x5,same,2x2,True,True,L2 (0.00001){f',{NO_RUN}' * 4}"
    assert len(lines) == 15


def test_every_row_stands_in_the_order_of_the_study():
    frame = tabulate(build())
    assert list(frame.index) == PUBLISHED_NAMES
    assert list(frame["#ConvNets"]) == ["2"] * 4 + ["3"] * 4 + ["5"] * 4 + ["7"] * 2
    numbers = frame.drop(columns=list(LABELS)).to_numpy().ravel()
    assert all(re.fullmatch(r"\d\.\d{5}", text) for text in numbers)


def test_seeds_add_their_number_and_intervals_beside_the_eleven_columns():
    frame = tabulate(build(make_runs(["conv2_3x3"], seeds=range(3)), rule="all-seeds"))
    assert ",".join(frame.columns[:11]) == HEADER
    assert list(frame.columns[11:]) == ["n", *(f"{c} 95 % CI" for c in frame.columns[7:11])]
    assert list(frame["n"][:2]) == ["3", "0"]
    assert re.fullmatch(r"\d\.\d{5} to \d\.\d{5}", frame["TEST_LOSS 95 % CI"].iloc[0])
    assert frame["TEST_LOSS 95 % CI"].iloc[1] == "-"


def test_differences_are_signed_and_unknown_ones_a_dash():
    frame = tabulate(build(make_runs(PUBLISHED_NAMES[:1]), published=True, truth=True))
    assert re.fullmatch(r"[+-]0\.\d{5}", frame.loc["conv2_3x3", "TEST_LOSS difference"])
    assert frame.loc["conv2_5x5", "TEST_LOSS difference"] == "-"
    assert frame.loc["conv2_5x5", "published TEST_LOSS"] == "0.06200"
    assert frame.loc["conv2_5x5", "published TRAIN_LOSS"] == "-"
    assert frame.loc["conv2_5x5", "honest gap"] == NO_RUN
    assert frame.loc["conv2_5x5", "parameters"] == "192202"
    assert frame.loc["conv5_3x3", "dropout in network"] == "True"


def test_markdown_is_one_table_with_what_is_missing_and_left_out():
    runs = make_runs(PUBLISHED_NAMES[:13])
    runs.loc[12, "epochs"] = 3
    text = render_table(build(runs), "markdown")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == f"| variant | {HEADER.replace(',', ' | ')} |"
    assert [row.split(" | ")[0] for row in rows[2:]] == [f"| {name}" for name in PUBLISHED_NAMES]
    assert {row.count("|") for row in rows} == {13}
    assert "No run yet: conv7_3x3, conv7_5x5.\n" in text
    assert f"- 1 run: epochs 3, asked 25 ({runs['run_id'][12]})\n" in text
    assert "\n\n\n" not in text


def test_latex_has_a_row_a_variant_and_its_evidence_in_comments():
    conclusion = build(make_runs(seeds=range(2)), rule="all-seeds")
    lines = render_table(conclusion, "latex").splitlines()
    body = [line for line in lines if line.endswith(r"\\")]
    assert len(body) == 15
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {15}
    assert body[0].startswith(r"\#ConvNets & \#Kernels/Filters & Padding")
    assert f"% Table sha256: {conclusion.sha256}" in lines
    assert sum(line.startswith("% conv") for line in lines) == 28
    assert any(r"\begin{tabular}{lllllllrrrrrrrrr}" in line for line in lines)


def test_control_rows_are_told_apart_by_their_variant():
    conclusion = build(make_runs(list(VARIANTS)), controls=True)
    rows = list(csv.reader(io.StringIO(render_table(conclusion, "csv"))))
    assert ",".join(rows[0]) == f"variant,{HEADER}"
    assert [row[0] for row in rows[1:]] == list(VARIANTS)
    lines = {"markdown": "| conv3_5x5_reg_matched | 3 | 5x5 |", "latex": r"conv3\_5x5\_reg\_matched & 3 & 5x5 &"}
    for form, start in lines.items():
        assert sum(line.lstrip().startswith(start) for line in render_table(conclusion, form).splitlines()) == 1
    assert r"\begin{tabular}{llllllllrrrr}" in render_table(conclusion, "latex")
    assert list(tabulate(conclusion).columns) == HEADER.split(",")


def test_columns_stand_by_what_they_hold():
    conclusion = build(truth=True, published=True)
    truth = "rllr" + "r" * len([metric for metric in FINALS if metric.column])  # depth, dropout, batch norm, parameters
    assert f"{{{'l' * 7}{'r' * 4}{truth}{'r' * 8}}}" in render_table(conclusion, "latex")
    ruler = next(line for line in render_table(conclusion, "markdown").splitlines() if line.startswith("| ---"))
    marks = ["r" if mark.strip() == "---:" else "l" for mark in ruler.strip("|").split("|")]
    assert marks.pop(0) == "l"
    assert "".join(marks) == f"{'l' * 7}{'r' * 4}{truth}{'r' * 8}"
    heads = Page(render_table(conclusion, "html")).all("th")[1 : 1 + len(marks)]
    assert "".join("r" if head.get("class") == "number" else "l" for head in heads) == "".join(marks)


def test_nasty_names_are_plain_text_in_latex():
    text = render_table(build(make_runs(run_name=NASTY, experiment=NASTY)), "latex")
    caption = next(line for line in text.splitlines() if r"\caption" in line)
    assert r"a\textbar{}b\_c \& 50\% \#1 \{x\} \textasciitilde{}\textasciicircum{}\textbackslash{}" in caption
    assert r"\textbackslash{}input\{secret\}" in caption
    assert r"\input{secret}" not in text
    comments = [line for line in text.splitlines() if "seed 0: run" in line]
    assert len(comments) == 14
    assert all(line.startswith("%") for line in comments)


def test_nasty_names_are_plain_text_in_html():
    runs = make_runs(run_name=NASTY, experiment=NASTY)
    runs.loc[3, ["outcome", "reason"]] = ["failed", '</li><script>alert("2")</script>']
    runs.loc[4, "run_id"] = NASTY
    text = render_table(build(runs), "html", "http://localhost/{run_id}")
    page = Page(text)
    assert not page.all("script")
    assert NASTY in page.all("html")[0]["text"]
    hrefs = {link["href"] for link in page.all("a")}
    assert len(hrefs) == 13
    assert all(re.fullmatch(r"http://localhost/[\w%.~-]+", href) for href in hrefs)


def test_nasty_names_are_plain_text_in_markdown():
    text = render_table(build(make_runs(experiment=NASTY)), "markdown")
    assert r"a\|b_c \& 50% #1 {x} ~^\\ \<script\>" in text.splitlines()[0]


@pytest.mark.parametrize(
    ("value", "latex", "markdown"),
    [
        ("conv2_3x3", r"conv2\_3x3", "conv2_3x3"),
        ("_it_ *b*", r"\_it\_ *b*", r"\_it\_ \*b\*"),
        ("a\n% b", r"a \% b", "a % b"),
        ("{$", r"\{\$", "{$"),
    ],
)
def test_escapes(value, latex, markdown):
    assert escape_latex(value) == latex
    assert escape_markdown(value) == markdown


def test_html_table_is_accessible_and_loads_nothing():
    page = Page(render_table(build(), "html"))
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("caption")) == len(page.all("table")) == 2
    assert all(head["scope"] in ("row", "col") for head in page.all("th"))
    assert not page.all("script", "link", "img", "iframe", "a")
    heads = [head["text"] for head in page.all("th") if head["text"] in HEADER.split(",")]
    assert ",".join(heads) == HEADER


def test_html_numbers_link_to_their_runs():
    runs = make_runs()
    page = Page(render_table(build(runs), "html", LINK))
    hrefs = [link["href"] for link in page.all("a")]
    assert set(hrefs) == {LINK.format(run_id=run_id) for run_id in runs["run_id"]}
    assert len(hrefs) == 14 * 4 + 14


def test_html_means_link_to_the_list_of_their_runs():
    page = Page(render_table(build(make_runs(seeds=range(3)), rule="all-seeds"), "html", LINK))
    ids = {element["id"] for element in page.elements if "id" in element}
    targets = {link["href"][1:] for link in page.all("a") if link["href"][0] == "#"}
    assert targets == ids == {f"runs-{name}" for name in PUBLISHED_NAMES}


def test_json_is_the_result_file():
    conclusion = build(make_runs(PUBLISHED_NAMES[:4]))
    assert load_conclusion(render_table(conclusion, "json")).sha256 == conclusion.sha256


def test_caption_and_best_rule_are_said_in_every_text_form():
    conclusion = build(make_runs(seeds=range(2)), rule="best")
    for form in ("text", "markdown", "latex", "html"):
        text = render_table(conclusion, form)
        assert "Conclusion of mnist14: last of 25 epochs, batch size 128" in text
        assert "14 runs of 14 variants; best" in text
        assert "descriptive only" in text


def test_text_table_keeps_every_number_whole():
    lines = render_table(build(truth=True, published=True), "text").splitlines()
    assert len({len(line) for line in lines[2:]}) == 1
    assert lines[3].split()[0] == "conv2_3x3"
    assert "…" not in "".join(lines)
    assert "..." not in "".join(lines)


def test_the_command_offers_every_form():
    assert set(FORMS) == set(FORMATS)
    assert len(list(csv.reader(io.StringIO(render_table(build(), "csv"))))) == 15
