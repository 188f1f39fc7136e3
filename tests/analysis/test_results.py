from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.table.conclusion import conclude, dump_conclusion, load_conclusion
from pipeline.analysis.table.selection import select_runs
from pipeline.errors import AnalysisError
from tests.frames import PUBLISHED_NAMES, make_runs


def test_result_file_comes_back_without_loss():
    runs = make_runs([*PUBLISHED_NAMES[:5], "conv5_3x3_plain"], seeds=range(2))
    runs.loc[1, "final/gap_honest"] = np.nan
    runs.loc[2, "ended"] = pd.NaT
    options = {"truth": True, "published": True, "controls": True}
    conclusion = conclude(select_runs(runs, rule="all-seeds"), **options)
    text = dump_conclusion(conclusion)
    restored = load_conclusion(text)
    assert restored.rows == conclusion.rows
    assert restored.settings == conclusion.settings
    assert dump_conclusion(restored) == text
    assert json.loads(text)["rows"][0]["entries"]["TEST_LOSS"]["n"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("0.9", "0.8", 1), "do not have the hash"),
        (lambda text: text[: len(text) // 2], "not a usable result file"),
        (lambda text: "[]", "not a usable result file"),
        (lambda text: text.replace("conclusion 1", "conclusion 9"), "its format is"),
        (lambda text: text.replace('"runs"', '"rums"'), "'runs'"),
    ],
)
def test_changed_result_file_is_refused(change, message):
    text = dump_conclusion(conclude(select_runs(make_runs())))
    with pytest.raises(AnalysisError, match="write it again with compare --format json") as error:
        load_conclusion(change(text))
    assert message in str(error.value)
