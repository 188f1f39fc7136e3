"""What a gate found: JUnit XML for the machine, a Markdown summary for the reader; both name the cell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree

from pipeline.analysis.gate.check import gate_passed
from pipeline.analysis.gate.metrics import Judgement
from pipeline.report.text.escape import escape_markdown, write_table

COLUMNS = ("cell", "metric", "expected", "value", "result", "how")
# XML 1.0 has no place for these at all, not even escaped.
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def name_cell(judgement: Judgement) -> str:
    """The cell a judgement is about."""
    return judgement.variant if judgement.seed is None else f"{judgement.variant} seed {judgement.seed}"


def render_junit(judgements: Sequence[Judgement]) -> str:
    """JUnit XML with one test case a judgement: failed cells as failures, those not judged as skipped."""
    results = Counter(judgement.result for judgement in judgements)
    counts = {
        "name": "gate",
        "tests": str(len(judgements)),
        "failures": str(results["fail"]),
        "errors": "0",
        "skipped": str(results["not judged"]),
    }
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", counts)
    for judgement in judgements:
        title = f"{name_cell(judgement)}: {judgement.metric}"
        case = ElementTree.SubElement(suite, "testcase", classname=f"gate.{judgement.variant}", name=title)
        if judgement.result != "pass":
            tag = "failure" if judgement.result == "fail" else "skipped"
            finding = ElementTree.SubElement(case, tag, message=f"{title}: {_describe_finding(judgement)}")
            finding.text = f"run {judgement.run_id or 'none'}: {judgement.detail}"
    ElementTree.indent(suites)
    return FORBIDDEN.sub("?", ElementTree.tostring(suites, encoding="unicode", xml_declaration=True)) + "\n"


def say_gate(judgements: Sequence[Judgement]) -> str:
    """For the terminal: what failed or could not be judged, a line each; one line where all passed."""
    counts = Counter(judgement.result for judgement in judgements)
    passed = gate_passed(judgements)
    shown = "fail" if counts["fail"] else "" if passed else "not judged"
    lines = [
        f"{judgement.result}: {name_cell(judgement)}, {judgement.metric}: {_describe_finding(judgement)}"
        + (f" ({judgement.detail})" if judgement.expected is not None else "")
        for judgement in judgements
        if judgement.result == shown
    ]
    said = f"{counts['pass']} passed, {counts['fail']} failed, {counts['not judged']} not judged"
    return "\n".join([*lines, f"Gate {'passed' if passed else 'failed'}: {said}"]) + "\n"


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
    rows = []
    for judgement in sorted(judgements, key=lambda judgement: ("fail", "not judged", "pass").index(judgement.result)):
        expected, value = _format(judgement.expected), _format(judgement.value)
        texts = (name_cell(judgement), judgement.metric, expected, value, judgement.result, judgement.detail)
        rows.append([escape_markdown(text) for text in texts])
    said = f"{headline} ({judged} of {len(judgements)} judged)."
    return "\n".join([said, "", *write_table(COLUMNS, rows)]) + "\n"


def _describe_finding(judgement: Judgement) -> str:
    if judgement.expected is None:
        return judgement.detail
    return f"expected {_format(judgement.expected)}, got {_format(judgement.value)}"


def _format(value: str | float | tuple[float, float] | None) -> str:
    """Bounds and numbers with five decimals, a hash by its first twelve digits."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value[:12]
    bounds = value if isinstance(value, tuple) else (value,)
    return " to ".join(f"{bound:.5f}" for bound in bounds)
