"""The report of a study with claims, the terminal and a run's figures, as people see them; each leaves its picture."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from rich.text import Text

from tests.browser.conftest import PAIRS
from tests.conftest import run_python

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

UNFOLD = "() => document.querySelectorAll('details.more').forEach(part => { part.open = true; })"
CUT = """() => [...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth)
    .map(box => box.getAttribute('aria-label'))"""
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
SIZES = {"desktop": (1280, 900), "wide": (1920, 1080), "phone": (390, 844)}
FIGURES = ("loss", "accuracy", "weights", "all_weights", "confusion", "mistakes")


@pytest.fixture
def report(page: Page, judged: Path) -> Page:
    page.goto((judged / "report.html").as_uri())
    page.evaluate(UNFOLD)
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_fits_its_window(report: Page, screenshots: Path, size: str, scheme: str) -> None:
    width, height = SIZES[size]
    report.set_viewport_size({"width": width, "height": height})
    report.emulate_media(color_scheme=scheme)
    report.screenshot(path=screenshots / f"report-{size}-{scheme}.png", full_page=True)
    assert report.evaluate(WIDER) == 0
    if size != "phone":
        assert report.evaluate(CUT) == []


def test_an_interval_stands_to_the_right_of_its_text(report: Page) -> None:
    cards = report.locator("article.drawn").all()
    assert len(cards) == 3  # noise hides the onset, and two depths carry no slope
    for card in cards:
        text, picture = card.locator("> div").bounding_box(), card.locator("img.interval").bounding_box()
        assert picture["x"] >= text["x"] + text["width"]
        assert picture["x"] + picture["width"] <= 1280
        assert text["y"] <= picture["y"] <= text["y"] + text["height"]


def test_numbers_with_their_spread_are_sorted_as_numbers(report: Page) -> None:
    report.locator("#results thead th").nth(3).get_by_role("button").click()
    gaps = [float(text.split()[0]) for text in report.locator("#results td:nth-child(4)").all_inner_texts()]
    assert gaps == sorted(gaps)
    assert min(gaps) < 0 < max(gaps)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(report: Page, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the extra browser")
    report.emulate_media(color_scheme=scheme)
    found = axe.Axe().run(report)
    assert found.violations_count == 0, found.generate_report()


def test_paper_has_numbered_pages_and_no_heading_alone(report: Page, screenshots: Path) -> None:
    report.pdf(path=screenshots / "report-paper.pdf", prefer_css_page_size=True, print_background=True)
    report.emulate_media(media="print")
    report.set_viewport_size({"width": 680, "height": 1000})  # an A4 page between its margins
    report.screenshot(path=screenshots / "report-paper.png", full_page=True)
    assert report.evaluate(WIDER) == 0
    assert "counter(page)" in report.locator("style").inner_text()
    for place in ("table", "robustness", "curves"):
        together = report.locator(f".together:has(#{place})")
        assert together.evaluate("box => getComputedStyle(box).breakInside") == "avoid"
        assert together.locator("figure, table").count() == 1


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_the_comparison_in_a_terminal(page: Page, judged: Path, screenshots: Path, columns: int) -> None:
    variables = {"COLUMNS": str(columns), "FORCE_COLOR": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{judged}/mlflow.db"}
    done = run_python(judged, "-m", "pipeline", "compare", str(PAIRS), **variables)
    assert done.returncode == 0, done.stderr
    printed = Text.from_ansi(done.stdout)
    table = printed.plain.partition("\n\n")[0].splitlines()
    assert max(map(len, table)) <= columns
    console = Console(record=True, width=max(columns, *map(len, printed.plain.splitlines())), file=io.StringIO())
    console.print(printed, soft_wrap=True)
    page.set_content(console.export_html())
    page.screenshot(path=screenshots / f"terminal-{columns}.png", full_page=True)
    assert page.get_by_text("SUPPORTED").count() > 0


def test_a_runs_figures_are_kept_to_be_looked_at(studied: Path, screenshots: Path) -> None:
    folder = next(studied.rglob("figures/mistakes.png")).parent  # a training's, not the comparison's
    for name in FIGURES:
        assert (folder / f"{name}.svg").is_file()
        shutil.copy(folder / f"{name}.png", screenshots / f"figure-{name}.png")
