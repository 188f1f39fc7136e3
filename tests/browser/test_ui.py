"""What somebody sees who types `python -m pipeline ui` after a few trainings, and who opens the report."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.tracking.ui import PAGE
from tests.browser.conftest import EXPERIMENT, VARIANTS
from tests.browser.interface import Interface

if TYPE_CHECKING:
    from playwright.sync_api import Page

    Keep = Callable[[str], None]

pytestmark = pytest.mark.slow

SECTIONS = ("overview", "train", "test", "honest", "gap", "time", "final")
SECTION = "[data-testid=experiment-view-compare-runs-section-header]"
CURVES = """name => [...document.querySelectorAll('[data-testid=experiment-view-compare-runs-card]')].some(card =>
    card.innerText.startsWith(name) &&
    new Set([...card.querySelectorAll('path.js-line')].map(line => line.getAttribute('d'))).size === 3)"""
BANDS = """() => [...document.querySelectorAll('[data-testid=experiment-view-compare-runs-card]')].some(card =>
    card.innerText.startsWith("test/loss") && card.querySelectorAll('path.js-fill').length >= 6)"""
WHOLE = """() => ![...document.querySelectorAll('svg [d*=NaN], svg [transform*=NaN]')].some(part =>
    part.checkVisibility())"""
DECODED = "image => image.decode().then(() => image.naturalWidth)"


@pytest.fixture
def runs(studied: Path) -> dict[str, str]:
    """Run ids by name."""
    with closing(sqlite3.connect(studied / "mlflow.db")) as connection:
        query = "SELECT r.name, run_uuid FROM runs r JOIN experiments e USING (experiment_id) WHERE e.name = ?"
        return dict(connection.execute(query, (EXPERIMENT,)))


def open_artifact(page: Page, interface: Interface, run_id: str, path: str) -> None:
    root = interface.page.partition("/runs?")[0]
    page.goto(f"{root}/runs/{run_id}/artifacts/{path}")


def test_the_table_shows_names_results_and_factors_under_the_conclusion(
    page: Page, interface: Interface, keep: Keep
) -> None:
    page.goto(interface.page)
    for name in VARIANTS:
        page.get_by_role("link", name=f"{name}-s0", exact=True).wait_for()
    assert page.get_by_role("link", name="compare", exact=True).count() == 0
    for column in ("metrics.`final/test_accuracy`", "metrics.`final/gap_honest`", "params.`depth-counted`"):
        page.locator(f'.ag-header-cell[col-id="{column}"]').wait_for()
        cells = page.locator(f'.ag-center-cols-container [role=gridcell][col-id="{column}"]').all_inner_texts()
        assert len(cells) == 3
        assert [float(text.rstrip("…")) for text in cells]
    page.get_by_text(f"Conclusion of {EXPERIMENT}").first.wait_for()
    assert page.get_by_text("Ask questions about your").count() == 0  # the chat panel, which opens at the first visit
    keep("runs")


def test_seeds_are_one_line_in_the_charts_and_runs_have_the_colours_of_the_figures(
    page: Page, interface: Interface, studied: Path, runs: dict[str, str], keep: Keep
) -> None:
    with closing(sqlite3.connect(studied / "mlflow.db")) as connection:
        (pairs,) = connection.execute("SELECT experiment_id FROM experiments WHERE name = 'pairs'").fetchone()
        colours = dict(connection.execute("SELECT run_uuid, value FROM tags WHERE key = 'mlflow.runColor'"))
    assert [colours[runs[f"{name}-s0"]] for name in VARIANTS] == ["#D55E00", "#0072B2", "#D55E00"]
    page.set_viewport_size({"width": 1280, "height": 1600})
    page.goto(f"{interface.address}/#/experiments/{pairs}/runs?{PAGE}&viewStateShareKey=study&compareRunsMode=CHART")
    page.get_by_text("Group: conv2_3x3_reg", exact=True).wait_for()
    page.wait_for_function(BANDS)
    keep("seeds")


def test_curves_and_parallel_coordinates_are_drawn_without_set_up(page: Page, interface: Interface, keep: Keep) -> None:
    page.set_viewport_size({"width": 1280, "height": 2400})
    page.goto(f"{interface.page}&compareRunsMode=CHART")
    page.locator(SECTION).first.wait_for()
    page.wait_for_function(CURVES, arg="train/loss")
    page.wait_for_function(CURVES, arg="test/loss")
    page.wait_for_function(CURVES, arg="gap/honest")
    page.locator("canvas.foreground").first.wait_for()
    page.locator(".barlayer .point").nth(2).wait_for(state="attached")
    page.wait_for_function(WHOLE)
    heads = [text.split("\n")[0] for text in page.locator(SECTION).all_inner_texts()]
    assert tuple(heads[: len(SECTIONS)]) == SECTIONS
    keep("charts")


def test_three_runs_are_compared(page: Page, interface: Interface, keep: Keep) -> None:
    page.goto(interface.page)
    page.get_by_role("link", name="conv3_3x3-s0", exact=True).wait_for()
    page.locator(".ag-header input[type=checkbox]:visible").first.check()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("Comparing 3 Runs from 1 Experiment").wait_for()
    page.locator("g.parcoords").first.wait_for(state="attached")
    for name in VARIANTS:
        page.get_by_text(f"{name}-s0", exact=True).first.wait_for()
    keep("compare")


def test_a_run_has_violins_and_the_model_summary(
    page: Page, interface: Interface, runs: dict[str, str], keep: Keep
) -> None:
    run_id = runs["conv2_3x3_reg-s0"]
    open_artifact(page, interface, run_id, "figures/weights.png")
    page.get_by_role("link", name="Models", exact=True).wait_for()  # the pages for trainings, not for language models
    picture = page.get_by_alt_text("figures/weights.png")
    picture.wait_for()
    assert picture.evaluate(DECODED) > 300
    keep("violins")
    page.get_by_text("model_summary.txt", exact=True).click()
    page.get_by_text("Total params").first.wait_for()
    keep("model-summary")


def test_the_report_is_shown_with_the_comparison(
    page: Page, interface: Interface, runs: dict[str, str], keep: Keep
) -> None:
    open_artifact(page, interface, runs["compare"], "report.html")
    frame = page.frame_locator("iframe")
    frame.locator("table.sortable#results").wait_for()
    assert frame.locator("#results tbody tr").count() == len(VARIANTS)
    keep("report-in-mlflow")


def test_the_report_needs_no_network_and_its_tables_sort(page: Page, studied: Path, keep: Keep) -> None:
    page.context.set_offline(True)
    page.goto((studied / "report.html").as_uri())
    pictures = page.locator("img")
    assert pictures.count() > 3
    assert all(picture.evaluate(DECODED) > 100 for picture in pictures.all())
    table = page.locator("#finals")
    seen = table.locator("tbody tr th").all_inner_texts()
    assert len(seen) == 3
    button = table.locator("thead th").first.get_by_role("button")
    button.click()
    assert table.locator("tbody tr th").all_inner_texts() == sorted(seen)
    button.press("Enter")
    assert table.locator("tbody tr th").all_inner_texts() == sorted(seen, reverse=True)
    assert table.locator("thead th").first.get_attribute("aria-sort") == "descending"
    keep("report")


def test_the_report_is_dark_where_the_reader_wants_it_and_fits_a_telephone(
    page: Page, studied: Path, keep: Keep
) -> None:
    ground = "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto((studied / "report.html").as_uri())
    assert min(page.evaluate(ground)[:3]) > 200
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    page.emulate_media(color_scheme="dark")
    assert max(page.evaluate(ground)[:3]) < 60
    keep("report-dark-narrow")
