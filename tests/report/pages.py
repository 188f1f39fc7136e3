"""A report of a planted study, and its HTML read element by element."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd

from pipeline.analysis.comparison import Comparison, Question, compare_runs
from pipeline.report.pages.html import render_report
from pipeline.report.pages.provenance import Sources
from pipeline.study.claims import Claim
from pipeline.study.facts import Provenance
from pipeline.study.settings import Settings
from tests.frames import make_history

TWINS = ("conv2_3x3", "conv2_3x3_reg", "conv3_3x3", "conv3_3x3_reg")
VOID = {"meta", "img", "br", "link", "input", "wbr"}
EVIL = '<script>alert("1")</script><img src=x onerror=alert(1)>'
WRITTEN = "2026-01-02 03:04:05 UTC"
PNG = b"\x89PNG\r\n\x1a\n rest"
GAP = Claim(name="gap", statement="The gap closes", estimand="gap", direction="lower", smallest_effect=0.005)
ERROR = Claim(name="error", statement="No worse", estimand="test_error", direction="not_higher", smallest_effect=0.001)
WHOLE = Claim(name="whole", statement="Generalises better", all_of=("gap", "error"))


class Page(HTMLParser):
    """Every element with its attributes, its text and the elements around it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[dict] = []
        self.open: list[dict] = []
        self.feed(text)
        assert not self.open, f"never closed: {[element['tag'] for element in self.open]}"

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", "around": [other["tag"] for other in self.open], **dict(attributes)}
        assert len(dict(attributes)) == len(attributes), f"an attribute twice in {tag}"
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, *tags):
        return [element for element in self.elements if element["tag"] in tags]


def compare(runs: pd.DataFrame, *claims: Claim, rule: str = "all-seeds") -> Comparison:
    history = pd.concat([make_history(runs), make_accuracies(runs)])
    frozen = {claim.name: "same" for claim in claims}
    question = Question(rule=rule, claims=claims, frozen={"": "", **frozen}, planned={"": "", **frozen})
    return compare_runs(runs, lambda run_ids: history[history["run_id"].isin(run_ids)], question)


def make_accuracies(runs: pd.DataFrame) -> pd.DataFrame:
    rows = [
        (run_id, metric, epoch, 0.9 + epoch / 1000)
        for run_id in runs["run_id"]
        for metric in ("train/accuracy", "test/accuracy")
        for epoch in range(1, 26)
    ]
    return pd.DataFrame(rows, columns=["run_id", "metric", "epoch", "value"])


def describe(comparison: Comparison, **more: object) -> Sources:
    environment = {"python": "3.11", "cpu": "c", "versions": {"keras": "3"}, "packages": ["a==1", "b==2"]}
    runs = tuple(
        Provenance(
            run_id=run["run_id"],
            variant=run["variant"],
            settings=Settings(seed=run["seed"]),
            commit="c" * 40,
            dirty=False,
            seconds=60.0,
            environment=environment,
            weights=PNG if run["seed"] == 0 else b"",
        )
        for run in comparison.runs.to_dict("records")
    )
    return replace(Sources(experiment="study", again="study.toml", runs=runs), **more)


def render(comparison: Comparison, sources: Sources | None = None, written: str = WRITTEN) -> str:
    return render_report(comparison, make_accuracies(comparison.runs), sources or describe(comparison), written)
