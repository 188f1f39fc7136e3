"""What a gate found: JUnit XML for the machine, a Markdown summary for the reader; both name the cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from pipeline.analysis.gate.check import gate_passed
from pipeline.analysis.gate.metrics import Judgement
from pipeline.report.text.escape import escape_markdown

# XML 1.0 has no place for these at all, not even escaped.
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def name_cell(judgement: Judgement) -> str:
    """The cell a judgement is about."""
    return judgement.variant if judgement.seed is None else f"{judgement.variant} seed {judgement.seed}"


def render_junit(judgements: Sequence[Judgement], name: str = "gate") -> str:
    """JUnit XML with one test case a judgement: failed cells as failures, those not judged as skipped."""
    results = [judgement.result for judgement in judgements]
    counts = {
        "name": name,
        "tests": str(len(results)),
        "failures": str(results.count("fail")),
        "errors": "0",
        "skipped": str(results.count("not judged")),
    }
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", counts)
    for judgement in judgements:
        title = _clean(f"{name_cell(judgement)}: {judgement.metric}")
        case = ElementTree.SubElement(suite, "testcase", classname=_clean(f"{name}.{judgement.variant}"), name=title)
        if judgement.result != "pass":
            tag = "failure" if judgement.result == "fail" else "skipped"
            finding = ElementTree.SubElement(case, tag, message=_clean(f"{title}: {_describe_finding(judgement)}"))
            finding.text = _clean(f"run {judgement.run_id or 'none'}: {judgement.detail}")
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def say_gate(judgements: Sequence[Judgement]) -> str:
    """For the terminal: what failed or could not be judged, a line each; one line where all passed."""
    failed = [judgement for judgement in judgements if judgement.result == "fail"]
    skipped = [judgement for judgement in judgements if judgement.result == "not judged"]
    shown = failed or ([] if gate_passed(judgements) else skipped)
    lines = [
        f"{judgement.result}: {name_cell(judgement)}, {judgement.metric}: {_describe_finding(judgement)}"
        + (f" ({judgement.detail})" if judgement.expected is not None else "")
        for judgement in shown
    ]
    passed = len(judgements) - len(failed) - len(skipped)
    counts = f"{passed} passed, {len(failed)} failed, {len(skipped)} not judged"
    return "\n".join([*lines, f"Gate {'passed' if gate_passed(judgements) else 'failed'}: {counts}"]) + "\n"


def render_summary(judgements: Sequence[Judgement]) -> str:
    """Markdown: one line with the result that names the failing cells, then every judgement, the failed ones first."""
    failed = list(dict.fromkeys(name_cell(judgement) for judgement in judgements if judgement.result == "fail"))
    judged = sum(judgement.result != "not judged" for judgement in judgements)
    if failed:
        headline = f"**Gate failed** in {', '.join(failed)}"
    elif gate_passed(judgements):
        headline = "**Gate passed**"
    else:
        headline = "**Gate not passed**: nothing could be judged"
    lines = [
        f"{headline} ({judged} of {len(judgements)} judged).",
        "",
        "| cell | metric | expected | value | result | how |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for judgement in sorted(judgements, key=lambda judgement: ("fail", "not judged", "pass").index(judgement.result)):
        expected, value = _format(judgement.expected), _format(judgement.value)
        texts = (name_cell(judgement), judgement.metric, expected, value, judgement.result, judgement.detail)
        lines.append(f"| {' | '.join(escape_markdown(text) for text in texts)} |")
    return "\n".join(lines) + "\n"


def _describe_finding(judgement: Judgement) -> str:
    """What was expected and what came, or why nothing was judged."""
    if judgement.expected is None:
        return judgement.detail
    return f"expected {_format(judgement.expected)}, got {_format(judgement.value)}"


def _format(value: str | float | tuple[float, float] | None) -> str:
    """Bounds and numbers with five decimals, a hash by its first twelve digits."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value[:12]
    return f"{value[0]:.5f} to {value[1]:.5f}" if isinstance(value, tuple) else f"{value:.5f}"


def _clean(text: str) -> str:
    """`text` without the characters that no XML may hold."""
    return FORBIDDEN.sub("?", text)
