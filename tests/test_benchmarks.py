"""What is said of speed is what was measured: docs/speed.md against the tables of RESULTS.md."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.__main__ import COMMANDS, read_sections

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
RATIO = re.compile(r"(?<![\d.,])\d\.\d\d(?![\d.])")


def test_every_benchmark_has_its_section() -> None:
    assert set(read_sections(RESULTS)) == set(COMMANDS)


def test_the_page_on_speed_quotes_ratios_that_were_measured() -> None:
    quoted = RATIO.findall((ROOT / "docs" / "speed.md").read_text())
    measured = {ratio for section in read_sections(RESULTS).values() for ratio in RATIO.findall(section)}
    assert len(quoted) > 5
    assert set(quoted) <= measured
