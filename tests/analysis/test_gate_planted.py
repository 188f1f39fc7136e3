from __future__ import annotations

import pytest

from pipeline.analysis.gate.check import check_against, gate_passed
from pipeline.analysis.table.conclusion import conclude, dump_conclusion
from pipeline.analysis.table.selection import newest_settings, select_runs
from pipeline.study.variants import VARIANTS
from tests.analysis.plants import FAULTS, train_rows

SIX = ("conv2_3x3", "conv2_5x5", "conv2_3x3_reg", "conv2_5x5_reg", "conv3_3x3", "conv3_5x5")
FOURTEEN = tuple(name for name, variant in VARIANTS.items() if variant.published)
STORED, NEW = range(3), [77]
SETS = [pytest.param(SIX, id="6", marks=pytest.mark.slow), pytest.param(FOURTEEN, id="14", marks=pytest.mark.nightly)]


@pytest.fixture(scope="module", params=SETS)
def stored(request):
    """(names, result file, what its runs predicted) of three seeds of each variant, trained on 600 images."""
    runs, predicted = train_rows(request.param, STORED)
    selection = select_runs(runs, newest_settings(runs), "all-seeds")
    return request.param, dump_conclusion(conclude(selection)), predicted


def test_healthy_trainings_pass(stored):
    names, text, predicted = stored
    runs, answers = train_rows(names, NEW)
    assert gate_passed(check_against(text, runs, predicted=predicted | answers))


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_fail(stored, fault):
    names, text, predicted = stored
    runs, answers = train_rows(names, NEW, fault)
    judgements = check_against(text, runs, predicted=predicted | answers)
    assert any(judgement.result == "fail" for judgement in judgements), fault
