"""A store with three real trainings and their report, its interface, and Chromium without a window."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.interface import Interface
from tests.conftest import ROOT, SUBSET, entered, succeed

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EXPERIMENT = "browser"
PAIRS = ROOT / "experiments" / "pairs.toml"
EVIDENCE = ROOT / "experiments" / "results" / "pairs.zip"
VARIANTS = ("conv2_3x3", "conv2_3x3_reg", "conv3_3x3")
PROGRAMS = ("chromium", "google-chrome")
PATIENCE = 120_000  # milliseconds until what a test waits for is missing
OPTIONAL = "/ajax-api/2.0/mlflow/users/current"  # the interface asks whether there is a login; 404 says no
HARMLESS = (
    "ResizeObserver loop",
    "Failed to load resource",  # judged by its answer
    "> attribute ",  # MLflow draws its charts in the middle of their size changing, and then again
)


@pytest.fixture(scope="session")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, where pairs is imported, and three variants are trained for two epochs and reported."""
    folder = tmp_path_factory.mktemp("studied")
    with entered(folder) as patch:
        patch.setenv("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        for name in VARIANTS:
            succeed("train", "--arch", name, "--epochs", "2", "--data", str(SUBSET))
        succeed("report", EXPERIMENT)
        succeed("bundle", "import", str(EVIDENCE))
    return folder


@pytest.fixture(scope="session")
def interface(studied: Path) -> Iterator[Interface]:
    """`python -m pipeline ui` on that store."""
    interface = Interface(f"sqlite:///{studied / 'mlflow.db'}", studied)
    try:
        yield interface
    finally:
        interface.kill()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; without it or without Playwright these tests are skipped."""
    api = pytest.importorskip("playwright.sync_api", reason="needs the extra browser")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("needs Chromium; install it, on Debian with `apt-get install chromium`")
    with api.sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page; the test fails if anything on it did, or asked for anything outside this machine."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    wrong: list[str] = []

    def judge_answer(status: int, url: str) -> None:
        if status >= 400 and not url.endswith(OPTIONAL):
            wrong.append(f"{status} {url}")

    page.on("response", lambda response: judge_answer(response.status, response.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
    page.on("request", lambda request: wrong.append(request.url) if not _is_here(request.url) else None)
    yield page
    context.close()
    assert [line for line in wrong if not any(word in line for word in HARMLESS)] == []


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of the published evidence on the pairs, and its report with every verdict."""
    folder = tmp_path_factory.mktemp("judged")
    with entered(folder):
        succeed("bundle", "import", str(EVIDENCE))
        succeed("report", str(PAIRS))
    return folder


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures are kept for people to look at: the folder SCREENSHOTS, else screenshots/ in the checkout."""
    folder = Path(os.environ.get("SCREENSHOTS") or ROOT / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def keep(page: Page, screenshots: Path) -> Callable[[str], None]:
    """Keep a picture of the page where CI finds it."""
    return lambda name: page.screenshot(path=screenshots / f"{name}.png") and None


def _is_here(url: str) -> bool:
    """Whether an address asks this machine."""
    return url.startswith(("http://127.0.0.1:", "file:", "data:", "blob:"))
