"""Two single runs on the same test images: which of them each got right, tested and shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.analysis.claims.images import compare_images
from pipeline.data.datasets import load_data
from pipeline.errors import AnalysisError
from pipeline.report.figures.render import render_png
from pipeline.report.figures.runs import plot_differing
from pipeline.report.text.lessons import say_differing
from pipeline.study.facts import restore_settings
from pipeline.study.tags import PARAM_DATA_SHA256
from pipeline.tracking.files.predicted import read_run
from pipeline.tracking.files.registry import find_run
from pipeline.tracking.store import open_store


@dataclass(frozen=True, kw_only=True)
class TwoRuns:
    """What is to be said of two runs, and a PNG file of the images in which they differ, empty where there is none."""

    lines: Sequence[str]
    picture: bytes = b""


def compare_two_runs(first_id: str, second_id: str) -> TwoRuns:
    """Count and test what one run got right and the other wrong; raises AnalysisError for other test images."""
    store = open_store()
    runs = [find_run(store, run_id) for run_id in (first_id, second_id)]
    if runs[0].facts.get(PARAM_DATA_SHA256) != runs[1].facts.get(PARAM_DATA_SHA256):
        raise AnalysisError("the two runs were tested on other images; compare runs of the same data and subset")
    first, second = (read_run(store, run.run_id) for run in runs)
    names = tuple(f"{run.variant} seed {run.seed}" for run in runs)
    found = compare_images(first, second)
    lines = say_differing(found, names)
    if not len(found.first_only) + len(found.second_only):
        return TwoRuns(lines=lines)
    settings = restore_settings(runs[0].facts)
    data = load_data(settings.data, subset=settings.subset, normalization=settings.normalization)
    drawn = plot_differing(found, names, (first, second), data.raw.x_test, data.images.classes)
    return TwoRuns(lines=lines, picture=render_png(drawn))
