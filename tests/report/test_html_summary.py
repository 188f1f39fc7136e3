"""What a reader of the report sees first: the count of verdicts, the finding, intervals and results."""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import replace

import pytest

from pipeline.analysis.claims.design import Look
from pipeline.analysis.comparison import Comparison
from pipeline.report.figures.comparison import plot_gap
from pipeline.report.figures.illustrations import embed_figure
from pipeline.report.pages.table import write_caption
from pipeline.report.text.lessons import say_specifications
from pipeline.report.text.numbers import SYMBOLS, say_bounds, say_effect
from pipeline.report.text.sentences import say_finding, say_verdict
from tests.frames import make_runs
from tests.report.pages import TWINS, Page, render

pytestmark = pytest.mark.usefixtures("undrawn")


def list_heads(text: str, table: str) -> list[str]:
    head = text.partition(f'id="{table}"')[2].partition("</thead>")[0]
    return [re.sub("<.*?>", "", cell) for cell in re.findall(r"<th[^>]*>(.*?)</th>", head)]


def test_results_come_first_in_both_tables(text: str) -> None:
    assert list_heads(text, "results") == ["variant", "test accuracy", "test loss", "gap", "n", "parameters", "runs"]
    heads = list_heads(text, "conclusion")
    assert heads[:6] == ["variant", "TRAIN_LOSS", "TEST_LOSS", "TRAIN_ACC", "TEST_ACC", "n"]
    assert heads.index("#ConvNets") > heads.index("n")
    assert text.index('id="results"') < text.index('id="conclusion"')


def test_declared_variants_without_a_run_are_named_and_others_are_not_missed(study: Comparison) -> None:
    question = replace(study.question, variants=(*TWINS[1:], "conv7_3x3"))
    text = render(replace(study, question=question))
    rows = re.findall(r'<tr><th scope="row">(\w+)</th><td class="number">([^<]+)', text.partition('id="results"')[2])
    assert [name for name, _ in rows][:4] == [*TWINS[1:], "conv7_3x3"]
    assert rows[3][1] == "(no run)"
    assert "No run: " not in text
    assert "no run of conv7_3x3;" in text
    found = Page(text)
    places = {element.get("id") for element in found.elements}
    assert {link["href"][1:] for link in found.all("a")} <= places


def test_the_page_begins_with_the_count_of_verdicts_and_the_finding(study: Comparison, text: str, page: Page) -> None:
    top = text.partition("<nav")[0]
    counts = Counter(verdict.verdict for verdict in study.verdicts)
    tally = next(element["text"] for element in page.all("p") if element.get("class") == "tally")
    assert tally == ", ".join(f"{SYMBOLS[word]} {counts[word]} {word.lower()}" for word in SYMBOLS if counts[word])
    assert f'<p class="found">{say_finding(study.verdicts)}</p>' in top
    for claim in page.all("article"):
        verdict = next(each for each in study.verdicts if each.name == claim["data-claim"])
        assert verdict.verdict.lower() in claim["class"].split()


def test_the_finding_is_one_sentence_on_the_headlines_parts(study: Comparison) -> None:
    said = say_finding(study.verdicts)
    singles = [verdict for verdict in study.verdicts if not verdict.parts]
    doubtful = [replace(verdict, troubles=("conv3_3x3 did not train",)) for verdict in singles]
    assert "Beware" not in said
    assert say_finding(doubtful).endswith(" seeds). Beware: conv3_3x3 did not train.")
    effect = (
        r"Regularisation (lowered|raised) the honest loss gap by [\d.]+ nats \(95 % CI [-+.\d]+ to [-+.\d]+\) and .*\."
    )
    assert re.fullmatch(effect, said)
    assert said.endswith("(means over 5 seeds).")
    unclear = [replace(verdict, interval=(-0.1, 0.1)) for verdict in singles]  # the one that decides, not the plain one
    assert say_finding(unclear).startswith("Regularisation may lower or raise the honest loss gap (")
    assert " before corrections)" in say_finding(unclear)
    assert "corrections" not in say_finding([replace(verdict, interval_95=(-0.1, 0.1)) for verdict in unclear])
    assert all(say_verdict(verdict).startswith("The estimated effect of") for verdict in unclear), "an open side"
    assert "by twin" not in said, "twins that agree in sign"
    twins = tuple(replace(singles[0].by_twin[0], effect=effect) for effect in (-0.28, 0.94))
    split = say_finding([replace(verdict, by_twin=twins, unit="nats") for verdict in singles[:1]])
    assert "; by twin -0.2800 to +0.9400)" in split
    look = Look(number=1, total=3, seeds=(0, 1, 2, 3, 4), share=1 / 3, first=5, last=15)
    interim = say_finding([replace(verdict, look=look) for verdict in singles])
    assert " Look 1 of 3, after 5 of 15 seeds: the study goes on, and the next look judges every claim again" in interim
    assert " Look " not in say_finding([replace(verdict, look=replace(look, number=3)) for verdict in singles])
    untested = [replace(verdict, outcome="UNTESTABLE") for verdict in singles]
    assert say_finding(untested).startswith("No claim could be tested. So far regularisation ")
    assert say_finding([replace(verdict, n_seeds=0) for verdict in unclear]) == "No claim could be tested."


def test_a_claims_interval_is_drawn_beside_it(study: Comparison, page: Page) -> None:
    drawn = [element for element in page.all("img") if element.get("class") == "interval"]
    tested = [verdict for verdict in study.verdicts if not verdict.parts]
    for element, verdict in zip(drawn, tested, strict=True):
        said = f"{verdict.name} {say_effect(verdict)}, 95 % interval {say_bounds(verdict.interval_95, verdict)}"
        assert element["alt"] == f"Effect and interval: {said}, {verdict.word}."
    assert all("article" in element["around"] for element in drawn)


def test_nothing_is_said_twice_and_the_query_is_folded(study: Comparison, page: Page) -> None:
    text = page.all("body")[0]["text"]
    for line in (write_caption(study.conclusion), *say_specifications(study)):
        assert text.count(line) == 1
    query = next(element for element in page.all("p") if study.conclusion.query in element["text"])
    assert "details" in query["around"]


def test_figures_stand_on_no_ground_so_that_they_fit_a_dark_page(page: Page) -> None:
    figure = plot_gap(make_runs(TWINS))
    source = embed_figure(figure, "Gap", "found").source
    svg = base64.b64decode(source.partition(",")[2]).decode()
    assert not re.search(r"fill: #ffffff(?!; opacity: 0)", svg.partition('id="line2d')[0])
    assert "img { filter: invert(" in page.all("style")[0]["text"]
