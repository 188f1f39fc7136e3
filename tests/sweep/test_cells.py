from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from pipeline.errors import ExperimentError
from pipeline.study.experiment import Experiment, load_experiment
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.sweep.cells import choose_seeds, count_states, fingerprint_cell, hash_code, plan_cells
from tests.conftest import ROOT

VARIANT, SETTINGS = find_variant("conv2_3x3"), Settings()
STUDY = Experiment(name="study", variants=("conv2_3x3", "conv2_3x3_reg"), seeds=(0, 1), settings=SETTINGS)
NO_RUNS = pd.DataFrame({"fingerprint": [], "outcome": [], "run_id": [], "started": [], "alive": []})


@pytest.mark.parametrize(
    ("variant", "settings", "data"),
    [
        (find_variant("conv2_5x5"), SETTINGS, "a"),
        (VARIANT, replace(SETTINGS, seed=1), "a"),
        (VARIANT, replace(SETTINGS, epochs=24), "a"),
        (VARIANT, replace(SETTINGS, batch_size=64), "a"),
        (VARIANT, replace(SETTINGS, normalization="scale"), "a"),
        (VARIANT, replace(SETTINGS, subset=600), "a"),
        (VARIANT, replace(SETTINGS, threads=1), "a"),
        (VARIANT, SETTINGS, "b"),
    ],
)
def test_whatever_can_change_a_result_changes_the_fingerprint(variant: object, settings: Settings, data: str) -> None:
    assert fingerprint_cell(variant, settings, data) != fingerprint_cell(VARIANT, SETTINGS, "a")  # type: ignore[arg-type]


def test_what_cannot_change_a_result_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = replace(SETTINGS, data="elsewhere.npz")
    renamed = replace(VARIANT, note="another note", twin=None)
    assert fingerprint_cell(renamed, moved, "a") == fingerprint_cell(VARIANT, SETTINGS, "a")


def test_the_training_code_is_part_of_it_and_its_comments_are_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    from pathlib import Path

    from pipeline.sweep import cells

    assert isinstance(tmp_path, Path)
    before = hash_code()
    for pattern in cells.TRAINING_CODE:
        for path in (ROOT / "pipeline").glob(pattern):
            copy = tmp_path / path.relative_to(ROOT / "pipeline")
            copy.parent.mkdir(exist_ok=True)
            copy.write_text("# a comment\n" + path.read_text())
    monkeypatch.setattr(cells, "PACKAGE", tmp_path)
    assert hash_code.__wrapped__() == before
    network = tmp_path / "training" / "network.py"
    network.write_text(network.read_text().replace('"categorical_crossentropy"', '"mse"'))
    assert hash_code.__wrapped__() != before


def test_cells_come_whole_seeds_first_with_the_state_of_their_runs() -> None:
    fresh = plan_cells(STUDY, "a", NO_RUNS)
    assert [cell.name for cell in fresh] == ["conv2_3x3-s0", "conv2_3x3_reg-s0", "conv2_3x3-s1", "conv2_3x3_reg-s1"]
    assert count_states(fresh) == {"done": 0, "running": 0, "started": 0, "to do": 4}
    runs = pd.DataFrame(
        [
            (fresh[0].fingerprint, "finished", "old", 1, False),
            (fresh[0].fingerprint, "running", "later", 2, True),
            (fresh[1].fingerprint, "killed", "first", 1, False),
            (fresh[1].fingerprint, "running", "second", 2, False),
            (fresh[2].fingerprint, "running", "third", 2, True),
            ("another code's", "finished", "foreign", 3, False),
        ],
        columns=["fingerprint", "outcome", "run_id", "started", "alive"],
    )
    planned = plan_cells(STUDY, "a", runs)
    assert [(cell.state, cell.run_id) for cell in planned] == [
        ("done", "old"),
        ("started", "second"),
        ("running", "third"),
        ("to do", ""),
    ]


def test_seeds_are_chosen_by_range_or_list() -> None:
    matched = load_experiment(ROOT / "experiments" / "matched.toml")
    assert choose_seeds(matched, "1-3").seeds == (1, 2, 3)
    assert choose_seeds(matched, "4,0").seeds == (0, 4)
    with pytest.raises(ExperimentError, match=r"seeds \[9\] are not declared in matched; it has \[0, 1, 2, 3, 4\]"):
        choose_seeds(matched, "0,9")
    with pytest.raises(ExperimentError, match='"x" names no seeds; write them as 0-4 or 0,2,7'):
        choose_seeds(matched, "x")
