"""What a gate found: JUnit XML for the machine, a Markdown summary for the reader; both name the cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from pipeline.analysis.gate import Outcome, gate_passed
from pipeline.report.escape import escape_markdown

# XML 1.0 has no place for these at all, not even escaped.
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(outcomes: Sequence[Outcome], name: str = "gate") -> str:
    """JUnit XML with one test case an outcome: failed cells as failures, those not judged as skipped."""
    verdicts = [outcome.verdict for outcome in outcomes]
    counts = {
        "name": name,
        "tests": str(len(verdicts)),
        "failures": str(verdicts.count("fail")),
        "errors": "0",
        "skipped": str(verdicts.count("not judged")),
    }
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", counts)
    for outcome in outcomes:
        title = _clean(f"{_name_cell(outcome)}: {outcome.metric}")
        case = ElementTree.SubElement(suite, "testcase", classname=_clean(f"{name}.{outcome.variant}"), name=title)
        if outcome.verdict != "pass":
            tag = "failure" if outcome.verdict == "fail" else "skipped"
            finding = ElementTree.SubElement(case, tag, message=_clean(f"{title}: {_describe_finding(outcome)}"))
            finding.text = _clean(f"run {outcome.run_id or 'none'}: {outcome.detail}")
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def render_summary(outcomes: Sequence[Outcome]) -> str:
    """Markdown: one line of verdict that names the failing cells, then every outcome, the failed ones first."""
    failed = list(dict.fromkeys(_name_cell(outcome) for outcome in outcomes if outcome.verdict == "fail"))
    judged = sum(outcome.verdict != "not judged" for outcome in outcomes)
    if failed:
        verdict = f"**Gate failed** in {', '.join(failed)}"
    elif gate_passed(outcomes):
        verdict = "**Gate passed**"
    else:
        verdict = "**Gate not passed**: nothing could be judged"
    lines = [
        f"{verdict} ({judged} of {len(outcomes)} judged).",
        "",
        "| cell | metric | expected | value | verdict | how |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for outcome in sorted(outcomes, key=lambda outcome: ("fail", "not judged", "pass").index(outcome.verdict)):
        expected, value = _format(outcome.expected), _format(outcome.value)
        texts = (_name_cell(outcome), outcome.metric, expected, value, outcome.verdict, outcome.detail)
        lines.append(f"| {' | '.join(escape_markdown(text) for text in texts)} |")
    return "\n".join(lines) + "\n"


def _name_cell(outcome: Outcome) -> str:
    """The cell an outcome is about."""
    return outcome.variant if outcome.seed is None else f"{outcome.variant} seed {outcome.seed}"


def _describe_finding(outcome: Outcome) -> str:
    """What was expected and what came, or why nothing was judged."""
    if outcome.expected is None:
        return outcome.detail
    return f"expected {_format(outcome.expected)}, got {_format(outcome.value)}"


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
