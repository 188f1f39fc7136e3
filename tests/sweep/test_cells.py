from __future__ import annotations

import pandas as pd
import pytest

from pipeline.errors import ExperimentError
from pipeline.study.experiment import Experiment, choose_seeds, load_experiment
from pipeline.study.facts import describe_settings, describe_variant
from pipeline.study.settings import RULES, Settings
from pipeline.study.variants import find_variant
from pipeline.sweep.cells import count_states, find_earlier, keep_earlier, plan_cells
from tests.conftest import ROOT

VARIANT, SETTINGS = find_variant("conv2_3x3"), Settings()
STUDY = Experiment(name="study", variants=("conv2_3x3", "conv2_3x3_reg"), seeds=(0, 1), settings=SETTINGS)
COLUMNS = ["fingerprint", "outcome", "run_id", "started", "alive", "last_epoch"]
NO_RUNS = pd.DataFrame(columns=COLUMNS)


def test_cells_come_whole_seeds_first_with_the_state_of_their_runs() -> None:
    fresh = plan_cells(STUDY, "a", NO_RUNS)
    assert [cell.name for cell in fresh] == ["conv2_3x3-s0", "conv2_3x3_reg-s0", "conv2_3x3-s1", "conv2_3x3_reg-s1"]
    assert count_states(fresh) == {"finished": 0, "running": 0, "stopped": 0, "to do": 4}
    runs = pd.DataFrame(
        [
            (fresh[0].fingerprint, "finished", "old", 1, False, 25),
            (fresh[0].fingerprint, "running", "later", 2, True, 3),
            (fresh[1].fingerprint, "killed", "first", 1, False, 24),
            (fresh[1].fingerprint, "running", "second", 2, False, 9),
            (fresh[2].fingerprint, "running", "third", 2, True, -1),
            ("another code's", "finished", "foreign", 3, False, 25),
        ],
        columns=COLUMNS,
    )
    planned = plan_cells(STUDY, "a", runs)
    assert [(cell.state, cell.run_id, cell.last_epoch) for cell in planned] == [
        ("finished", "old", 25),
        ("stopped", "second", 9),
        ("running", "third", 0),
        ("to do", "", 0),
    ]


def test_seeds_are_chosen_by_range_or_list() -> None:
    matched = load_experiment(ROOT / "experiments" / "matched.toml")
    assert choose_seeds(matched, "1-3").seeds == (1, 2, 3)
    assert choose_seeds(matched, "4,0").seeds == (0, 4)
    with pytest.raises(ExperimentError, match=r"seeds \[9\] are not declared in matched; it has \[0, 1, 2, 3, 4\]"):
        choose_seeds(matched, "0,9")
    with pytest.raises(ExperimentError, match='"x" names no seeds, or too many; write them as 0-4 or 0,2,7'):
        choose_seeds(matched, "x")


def test_runs_of_an_earlier_version_are_found_and_kept_only_if_asked() -> None:
    cells = plan_cells(STUDY, "a", NO_RUNS)
    facts = {**describe_settings(SETTINGS), **describe_variant(VARIANT)}
    settings = {name: getattr(SETTINGS, name) for name in RULES}
    run = {
        "variant": "conv2_3x3",
        "data_sha256": "a",
        "outcome": "finished",
        "fingerprint": "old",
        "started": 1,
        "last_epoch": 25,
    }
    runs = pd.DataFrame(
        [
            {**run, **settings, "run_id": "older"},
            {**run, **settings, "run_id": "newer", "started": 2},
            {**run, **settings, "run_id": "killed", "outcome": "killed", "started": 3},
            {**run, **settings, "run_id": "longer", "epochs": 99, "started": 3},
            {**run, **settings, "run_id": "other data", "data_sha256": "b", "started": 3},
        ]
    )
    rows = dict.fromkeys(runs["run_id"], facts)
    earlier = find_earlier(cells, "a", runs, lambda: rows)
    assert earlier == {cells[0].fingerprint: "newer"}
    kept = keep_earlier(cells, earlier)
    assert [(cell.state, cell.run_id) for cell in kept[:2]] == [("finished", "newer"), ("to do", "")]
    done = runs.assign(fingerprint=cells[0].fingerprint)
    assert find_earlier(plan_cells(STUDY, "a", done.assign(alive=False)), "a", done, lambda: rows) == {}
