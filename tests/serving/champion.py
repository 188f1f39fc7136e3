"""A study in the store whose claims choose the regularised arm, with a real network in the run to be promoted."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from mlflow.keras.utils import get_model_signature
from mlflow.models import Model

from pipeline.study.experiment import load_experiment
from pipeline.tracking.files.artifacts import MODEL_NAME
from pipeline.tracking.files.model import load_network
from pipeline.tracking.frozen import freeze_plan
from pipeline.tracking.store import find_experiment, open_store
from tests.tracking.planted import plant_run

TOML = """
name = "{name}"
variants = ["conv2_3x3", "conv2_3x3_reg"]
seeds = [0, 1, 2, 3, 4]
settings = {{ epochs = 4, subset = 600, threads = 1 }}
[[claims]]
name = "loss"
statement = "No more test loss"
estimand = "test_loss"
direction = "not_higher"
smallest_effect = 0.01
"""


def declare(folder: Path, name: str, *, frozen: bool = True) -> Path:
    """The file of an experiment, frozen before there is a run."""
    path = folder / f"{name}.toml"
    path.write_text(TOML.format(name=name))
    store = open_store()
    experiment_id = find_experiment(store, name, create=True)
    if frozen:
        freeze_plan(store, experiment_id, load_experiment(path))
    return path


def plant_seeds(name: str, seeds: range = range(5)) -> str:
    """A run of both variants and every seed; the id of the regularised one with the lowest."""
    run_ids = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_EXPERIMENT_NAME", name)
        for seed in seeds:
            plant_run(open_store(), "conv2_3x3", seed)
            run_ids.append(plant_run(open_store(), "conv2_3x3_reg", seed))
    return run_ids[0]


def give_model(run_id: str, trained_id: str) -> None:
    """Give a planted run what a real training has left: artifacts, network, hash."""
    client = open_store().client
    client.log_artifacts(run_id, client.download_artifacts(trained_id, ""))
    network = load_network(trained_id)
    with pytest.MonkeyPatch.context() as patch:  # MLflow puts a model where the environment says
        patch.setenv("MLFLOW_EXPERIMENT_ID", client.get_run(run_id).info.experiment_id)
        Model.log(
            artifact_path=None,
            name=MODEL_NAME,
            flavor=mlflow.keras,
            run_id=run_id,
            model=network,
            signature=get_model_signature(network),
            pip_requirements=["keras"],
        )
    client.set_tag(run_id, "weights.sha256", client.get_run(trained_id).data.tags["weights.sha256"])
