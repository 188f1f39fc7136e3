from __future__ import annotations

import pytest

from pipeline.analysis.comparison import Comparison
from tests.frames import make_runs
from tests.report.pages import ERROR, GAP, TWINS, WHOLE, Page, compare, render


@pytest.fixture(scope="session")
def study() -> Comparison:
    return compare(make_runs(TWINS, seeds=range(5)), GAP, ERROR, WHOLE)


@pytest.fixture(scope="session")
def text(study: Comparison) -> str:
    return render(study)


@pytest.fixture(scope="session")
def page(text: str) -> Page:
    return Page(text)
