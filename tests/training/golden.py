"""Golden weights: two tiny trainings whose every bit is known by processor type, and nearly so on any other.

    python -m tests.training.golden

writes golden.json again, or adds the hashes of this processor type. Where the bits change on purpose, raise
pipeline.training.fingerprint.TRAINING_VERSION first: every finished cell is then to be trained again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.datasets import load_data
from pipeline.study.settings import Settings
from pipeline.study.variants import Variant
from pipeline.tracking.provenance import read_cpuinfo
from pipeline.training.fingerprint import TRAINING_VERSION
from pipeline.training.run import train_run
from tests.conftest import SUBSET

FILE = Path(__file__).with_name("golden.json")
ROWS = (
    Variant(
        name="regularised",
        depth_called=2,
        kernel=3,
        features="4 M D 8 M D",
        head="16 B D",
        conv_padding="same",
        pool_padding="same",
        regularised=True,
    ),
    Variant(name="plain", depth_called=2, kernel=5, features="4 M 8", head="16"),
)
NORMALIZATIONS = ("l2", "scale")


def name_processor() -> str:
    """What decides which instructions oneDNN takes: vendor, family, model."""
    facts = read_cpuinfo()
    return " ".join(facts.get(name, "unknown") for name in ("vendor_id", "cpu family", "model"))


def train_golden() -> dict[str, dict[str, Any]]:
    """For each row the hash of its weights, its losses, and the norm of each kernel after two epochs."""
    trained = {}
    for row, normalization in zip(ROWS, NORMALIZATIONS, strict=True):
        settings = Settings(epochs=2, subset=600, batch_size=50, normalization=normalization, data=str(SUBSET))
        dataset = load_data(settings.data, subset=settings.subset, normalization=normalization)
        result = train_run(row, settings, dataset)
        norms = {name: float(np.linalg.norm(kernel)) for name, kernel in result.kernels.items()}
        trained[row.name] = {
            "sha256": result.weights_sha256,
            "values": {name: result.finals[f"final/{name}"] for name in ("train_loss", "test_loss")} | norms,
        }
    return trained


def write_golden() -> None:
    """Write the file; hashes of other processors are kept as long as the training has the same version."""
    trained = train_golden()
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    hashes = known["sha256"] if known.get("training version") == TRAINING_VERSION else {}
    golden = {
        "training version": TRAINING_VERSION,
        "sha256": {**hashes, name_processor(): {name: each["sha256"] for name, each in trained.items()}},
        "values": {name: each["values"] for name, each in trained.items()},
    }
    FILE.write_text(json.dumps(golden, indent=2) + "\n")


if __name__ == "__main__":
    write_golden()
