"""The study in colour that comes with the project: its images are cut again, and they are those that were."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from pipeline.data.datasets import load_data
from pipeline.study.experiment import load_experiment
from pipeline.study.layers import check_fit
from tests.conftest import ROOT

SHA256 = "bb07c30f3b5ad5ff0fceb44d3ff4f22407eefc4cacdbc91f2602f39a25c3477c"


def test_the_patches_are_cut_as_they_were_and_the_networks_fit(tmp_path: Path) -> None:
    for name in ("photographs.py", "photographs.toml"):
        shutil.copy(ROOT / "experiments" / name, tmp_path)
    subprocess.run([sys.executable, str(tmp_path / "photographs.py")], check=True, cwd="/", timeout=120)
    experiment = load_experiment(tmp_path / "photographs.toml")
    dataset = load_data(experiment.settings.data)
    assert dataset.sha256 == SHA256
    assert dataset.images.classes == ("astronaut", "cat", "coffee", "motorcycle", "tissue")
    assert (dataset.raw.x_train.shape, dataset.raw.x_test.shape) == ((1000, 32, 32, 3), (250, 32, 32, 3))
    seen = {row.tobytes() for image in dataset.raw.x_train for row in image}
    assert (
        np.mean([row.tobytes() in seen for image in dataset.raw.x_test for row in image]) < 0.01
    )  # no pixel is in both
    for name in experiment.variants:
        check_fit(experiment.table[name], dataset.images)
