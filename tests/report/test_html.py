from __future__ import annotations

import json
import re
from base64 import b64decode
from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest

from pipeline.analysis.comparison import Comparison
from pipeline.analysis.table.conclusion import dump_conclusion
from pipeline.report.figures.comparison import plot_seeds
from pipeline.report.figures.illustrations import MOST_VIOLINS, draw_violins, embed_figure
from pipeline.report.pages.checklist import answer_checklist
from pipeline.report.pages.provenance import Sources, describe_surroundings
from pipeline.report.text.numbers import SYMBOLS
from pipeline.report.text.sentences import say_verdict
from pipeline.study.metrics import TEST_ACCURACY
from tests.frames import make_runs
from tests.report.pages import EVIL, GAP, PNG, TWINS, WRITTEN, Page, compare, describe, render

pytestmark = pytest.mark.usefixtures("undrawn")


def test_the_page_can_be_read_without_seeing_it(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert [element["text"] for element in page.all("h1")] == ["Report of study"]
    levels = [int(element["tag"][1]) for element in page.all("h1", "h2", "h3", "h4")]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert {element["tag"] for element in page.elements} >= {"header", "nav", "main", "footer"}
    assert page.all("a")[0]["href"] == "#main"
    for picture in page.all("img"):
        assert len(picture["alt"]) > 40
    for head in page.all("th"):
        assert head["scope"] in ("col", "row")
    assert len(page.all("table")) == len(page.all("caption"))
    for table in page.all("table"):
        assert "div" in table["around"]
    for box in page.all("div"):
        if box.get("class") == "scroll":
            assert (box["role"], box["tabindex"]) == ("region", "0")
            assert box["aria-label"]


def test_the_table_of_seeds_holds_each_test_accuracy_and_a_dash_for_a_missing_run() -> None:
    runs = make_runs(TWINS, seeds=range(3))
    runs["final/test_accuracy"] = 0.5 + runs.index / 1000
    left = runs.drop(index=runs.index[1])
    table = render(compare(left, rule="newest")).partition('aria-label="Test accuracy by variant and seed"')[2]
    shown = {
        variant: re.findall(r">([^<>]+)</td>", cells)
        for variant, cells in re.findall(
            r'<th scope="row">(\w+)</th>(.*?)</tr>', table.partition("</table>")[0], re.DOTALL
        )
    }
    accuracies = left.set_index(["variant", "seed"])["final/test_accuracy"]
    assert shown == {
        variant: [
            f"{100 * accuracies[variant, seed]:.2f} %" if (variant, seed) in accuracies else "-" for seed in range(3)
        ]
        for variant in dict.fromkeys(left["variant"])
    }
    assert sum(cell == "-" for cells in shown.values() for cell in cells) == 1


def test_every_place_that_is_linked_is_there_once(page: Page) -> None:
    places = [element["id"] for element in page.elements if "id" in element]
    assert len(places) == len(set(places))
    links = [element["href"] for element in page.all("a")]
    assert links
    assert {link for link in links if not link.startswith("#")} == set()
    assert {link[1:] for link in links} <= set(places)
    assert {element["aria-labelledby"] for element in page.all("section")} <= set(places)


def test_text_stands_out_from_its_ground_in_light_and_dark(text: str) -> None:
    schemes = [dict(re.findall(r"--(\w+): #(\w+);", rule)) for rule in re.findall(r":root \{(.*?)\}", text, re.S)]
    assert len(schemes) == 3  # light, dark, print
    for colours in schemes:
        assert len({colours[word.lower()] for word in SYMBOLS}) == len(SYMBOLS), "each verdict has its own colour"
        for ground in ("ground", "card"):
            for ink in ("ink", "soft", "link", "focus", *map(str.lower, SYMBOLS)):
                if ink in colours:
                    assert contrast(colours[ink], colours[ground]) >= (3 if ink == "focus" else 4.5), (ink, ground)


def contrast(first: str, second: str) -> float:
    """The ratio of WCAG 2 for two colours in hex."""
    low, high = sorted(map(luminance, (first, second)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    digits = "".join(2 * digit for digit in colour) if len(colour) == 3 else colour
    levels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return sum(weight * level for weight, level in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_nothing_is_loaded(text: str, page: Page) -> None:
    loaded = [element["src"] for element in page.elements if "src" in element]
    assert loaded
    assert all(source.startswith("data:image/") for source in loaded)
    assert not page.all("link", "iframe", "object", "embed", "base")
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", text)
    policy = next(element["content"] for element in page.all("meta") if "http-equiv" in element)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not [element for element in page.elements if "style" in element or any(n.startswith("on") for n in element)]


def test_each_claim_has_its_verdict_as_word_and_symbol_headline_first(study: Comparison, page: Page) -> None:
    claims = page.all("article")
    assert [claim["data-claim"] for claim in claims] == ["whole", "gap", "error"]
    verdicts = {verdict.name: verdict for verdict in study.verdicts}
    for claim in claims:
        verdict = verdicts[claim["data-claim"]]
        assert f"{SYMBOLS[verdict.verdict]} {verdict.verdict}" in claim["text"]
        assert say_verdict(verdict) in claim["text"]
        assert verdict.statement in claim["text"]
        assert all(run_id in claim["text"] for run_id in verdict.run_ids)
    assert "smallest effect of interest0.0050 nats" in claims[1]["text"].replace("\n", "")
    assert "margin0.10 points" in claims[2]["text"].replace("\n", "")


def test_each_number_of_the_table_is_that_of_the_result_file(study: Comparison, text: str) -> None:
    document = json.loads(dump_conclusion(study.conclusion))
    table = text.partition('<table class="sortable" id="conclusion">')[2].partition("</table>")[0]
    rows = re.findall(r"<tr><th scope=\"row\">(\w+)</th>(.*)</tr>", table)
    assert {name for name, _ in rows} == set(TWINS), "a variant without a run has no row"
    document["rows"] = [row for row in document["rows"] if row["variant"] in TWINS]
    assert [name for name, _ in rows] == [row["variant"] for row in document["rows"]]
    checked = 0
    for (_, cells), row in zip(rows, document["rows"], strict=True):
        values = re.findall(r"<td[^>]*data-value=\"([^\"]*)\">(?:<a[^>]*>)?([^<]*)", cells)
        wanted = [entry for entry in row["entries"].values() if entry["kind"] == "measured"]
        for (raw, shown), entry in zip(values, wanted, strict=True):
            assert raw == ("" if entry["value"] is None else repr(entry["value"]))
            accuracy = f"{100 * entry['value']:.2f} %"
            assert shown == (accuracy if entry["source"].endswith("accuracy") else f"{entry['value']:.4f}")
            checked += 1
    assert checked == 4 * len(TWINS)


def test_every_run_has_its_finals_command_commit_and_checkout(study: Comparison, text: str, page: Page) -> None:
    finals = [element for element in page.all("tr") if "data-run" in element]
    assert [row["data-run"] for row in finals] == list(study.runs["run_id"])
    for row, run in zip(finals, study.runs.to_dict("records"), strict=True):
        assert f"{run['final/gap_honest']:+.4f}" in row["text"]
    commands = text.partition('id="commands"')[2].partition("</table>")[0]
    assert "mlflow run . --env-manager local -P arch=conv3_3x3_reg -P seed=4</code>" in commands
    assert commands.count("<td>clean</td>") == commands.count("c" * 12) == 20


@pytest.mark.drawn
def test_the_same_runs_give_the_same_page_but_for_one_line(study: Comparison, text: str) -> None:
    later = render(study, written="2030-09-09 09:09:09 UTC")
    changed = [pair for pair in zip(text.splitlines(), later.splitlines(), strict=True) if pair[0] != pair[1]]
    assert [line for line, _ in changed] == [f'<p class="soft" id="written">Written: {WRITTEN}</p>']


def test_what_comes_from_outside_is_text(study: Comparison) -> None:
    evil = replace(describe(study), experiment=EVIL, description=EVIL, again=EVIL)
    runs = tuple(replace(run, commit=EVIL, repository=EVIL, environment={"cpu": EVIL}) for run in evil.runs)
    table = make_runs(TWINS, seeds=range(5), experiment=EVIL, weights_sha256=EVIL)
    loser = make_runs(["conv2_3x3"], seeds=[9], outcome="failed", reason=EVIL)
    claims = (replace(GAP, name=EVIL, statement=EVIL),)
    text = render(compare(pd.concat([table, loser]), *claims), replace(evil, runs=runs, link=f"http://x/{EVIL}"))
    found = Page(text)
    assert len(found.all("script")) == 1
    assert not [picture for picture in found.all("img") if not picture["src"].startswith("data:image/")]
    assert text.count("&lt;script&gt;") > 10
    assert EVIL in found.all("h1")[0]["text"]


def test_runs_on_a_server_are_linked_there(study: Comparison) -> None:
    single = compare(make_runs(TWINS), rule="newest")
    table = render(single, describe(single, link="http://h:5/#/runs/{run_id}")).partition('id="conclusion"')[2]
    for run_id in single.runs["run_id"]:
        assert table.partition("</table>")[0].count(f'<a href="http://h:5/#/runs/{run_id}">') == 4
        assert f'<a href="http://h:5/#/runs/{run_id}"><code>{run_id}</code></a>' in table.partition("</table>")[2]


def answers(comparison: Comparison, sources: Sources) -> dict[str, str]:
    return {question: word for question, word, _ in answer_checklist(comparison, sources)}


def test_the_checklist_promises_nothing_that_was_not_recorded(study: Comparison, text: str) -> None:
    full = answers(study, describe(study, frozen_at="2025-12-31T00:00:00+00:00"))
    assert full["Is the code of every run known?"] == "yes"
    assert full["Are the claims fixed before the runs?"] == "yes"
    late = describe(study, frozen_at="2026-06-01T00:00:00+00:00")
    bare = replace(late, runs=tuple(replace(run, commit="", dirty=None, environment={}) for run in late.runs))
    too_late = replace(study, question=replace(study.question, standing="late"))
    words = answers(too_late, bare)
    assert words["Is the code of every run known?"] == "no"
    assert words["Are the claims fixed before the runs?"] == "no"
    assert words["Are the software versions given?"] == "not recorded"
    assert words["Is the compute given?"] == "no"
    dirty = replace(late, runs=tuple(replace(run, dirty=True) for run in late.runs))
    assert answers(study, dirty)["Is the code of every run known?"] == "partly"
    single = compare(make_runs(TWINS), rule="best")
    alone = answers(single, describe(single))
    assert alone["Are there error bars, and what are they?"] == "no"
    assert alone["Are the splits fixed, and is nothing chosen on test images?"] == "no"
    assert alone["Are the claims fixed before the runs?"] == "no"
    for question, word, _ in answer_checklist(study, describe(study)):
        row = f'<tr><th scope="row">{question}</th><td><strong>{word}</strong></td>'
        assert row in text


def test_a_moment_between_the_first_runs_and_the_freezing_is_not_late(study: Comparison) -> None:
    first = study.runs["started"].min()
    at_once = describe(study, frozen_at=(first + pd.Timedelta(seconds=1)).isoformat())
    assert answers(study, at_once)["Are the claims fixed before the runs?"] == "yes"
    for unreadable in ("garbage", "2026-06-01T00:00:00"):
        late = replace(study, question=replace(study.question, standing="late"))
        assert answers(late, describe(study, frozen_at=unreadable))["Are the claims fixed before the runs?"] == "no"


def test_runs_on_different_machines_and_late_claims_are_told(study: Comparison) -> None:
    study = replace(study, question=replace(study.question, standing="late"))
    sources = describe(study, frozen_at="2026-06-01T00:00:00+00:00")
    other = replace(sources.runs[0], environment={**sources.runs[0].environment, "cpu": "d", "packages": ["a==1"]})
    text = render(study, replace(sources, runs=(replace(other, weights=b""), *sources.runs[1:5])))
    assert "The runs differ in processor, b. 5 of 5 runs recorded" in text
    assert "c (4 runs); d (1 runs)" in text
    assert "nothing shows that they were not written to fit it.</strong>" in text
    assert "missing or out of reach" in text
    same = describe_surroundings(sources.runs)
    assert (same.differing, same.packages) == ((), ("a==1", "b==2"))


def test_the_violins_keep_the_page_small(study: Comparison) -> None:
    sources = describe(study)
    assert [picture.title for picture in draw_violins(sources.runs)] == [f"{name}, seed 0" for name in TWINS]
    large = tuple(replace(run, weights=run.weights and PNG + bytes(MOST_VIOLINS // 3)) for run in sources.runs)
    assert len(draw_violins(large)) == 2


def test_of_very_many_runs_the_lowest_seeds_are_listed(study: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.report.pages.html.MOST_LISTED", 2 * len(TWINS) + 1)
    text = render(study)
    page = Page(text)
    assert "the runs of the lowest 2 of 5 seeds." in text
    assert f"<li>and {len(study.runs) - 2 * len(TWINS) - 1} more</li>" in text  # of those behind a claim
    listed = [row["data-run"] for row in page.all("tr") if "data-run" in row]
    assert len(listed) == 2 * len(TWINS)
    assert set(listed) == set(study.runs.loc[study.runs["seed"] < 2, "run_id"])


def test_many_points_become_an_image_within_the_picture(study: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw() -> str:
        figure = plot_seeds(study.runs, TEST_ACCURACY.final)
        return b64decode(embed_figure(figure, "t", "f").source.partition(",")[2]).decode()

    drawn = draw()
    monkeypatch.setattr("pipeline.report.figures.illustrations.MOST_POINTS", 3)
    assert ("data:image/png" in drawn, "data:image/png" in draw()) == (False, True)
