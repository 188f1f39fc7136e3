"""A model in the store that somebody has exchanged: what our code loads must refuse it, and execute nothing."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.errors import StoreError
from pipeline.study.settings import Settings
from pipeline.tracking.files.model import verify_run
from tests.conftest import SUBSET, flip_middle

SETTINGS = Settings(data=str(SUBSET))
Spoil = Callable[[Path, Path], object]


def rewrite(model: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Change members of the .keras archive."""
    with zipfile.ZipFile(model) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(model, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def change_layer(model: Path, place: int, **changes: object) -> None:
    """Change what the network's configuration says of one of its layers."""

    def change(members: dict[str, bytes]) -> None:
        config: dict[str, Any] = json.loads(members["config.json"])
        config["config"]["layers"][place].update({"registered_name": None, **changes})
        members["config.json"] = json.dumps(config).encode()

    rewrite(model, change)


def add_lambda(model: Path, mark: Path) -> None:
    """A network of one Lambda layer whose code is in the file."""
    import keras

    function = eval(f"lambda x: (__import__('pathlib').Path({str(mark)!r}).touch(), x)[1]")
    inputs = keras.Input((28, 28, 1))
    keras.Model(inputs, keras.layers.Lambda(function, output_shape=(28, 28, 1))(inputs)).save(model)
    mark.unlink(missing_ok=True)


def call_system(model: Path, mark: Path) -> None:
    """A first layer whose class is os.system."""
    change_layer(model, 0, module="os", class_name="system", config={"command": f"touch {mark}"})


def link_outside(model: Path, mark: Path) -> None:
    """Weights that are a link to another HDF5 file."""
    other = model.parent / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.zeros((3, 3, 1, 32), np.float32)

    def change(members: dict[str, bytes]) -> None:
        path = model.parent / "weights.h5"
        path.write_bytes(members["model.weights.h5"])
        with h5py.File(path, "a") as file:
            names: list[str] = []
            file.visit(names.append)
            name = next(name for name in names if isinstance(file[name], h5py.Dataset))
            del file[name]
            file[name] = h5py.ExternalLink(str(other), "secret")
        members["model.weights.h5"] = path.read_bytes()
        path.unlink()

    rewrite(model, change)


def claim_saved_model(model: Path, mark: Path) -> None:
    """An MLmodel that makes MLflow load a TensorFlow graph, which may write files and knows no safe mode."""
    description = model.parents[1] / "MLmodel"
    description.write_text(description.read_text().replace("save_exported_model: false", "save_exported_model: true"))


def tag_yaml(model: Path, mark: Path) -> None:
    """An MLmodel that asks YAML to call a function."""
    description = model.parents[1] / "MLmodel"
    description.write_text(description.read_text() + f"extra: !!python/object/apply:os.system ['touch {mark}']\n")


def fill_yaml(model: Path, mark: Path) -> None:
    """An MLmodel of many megabytes."""
    (model.parents[1] / "MLmodel").write_text("a: [" + "0, " * 3_000_000 + "0]\n")


def wrap_torch(model: Path, mark: Path) -> None:
    """A layer that is a module of another library, which Keras would unpickle."""
    config = {"module": {"class_name": "__bytes__", "config": {"value": "gASVIQ=="}}, "name": "torch"}
    change_layer(model, 1, module="keras.layers", class_name="TorchModuleWrapper", config=config)


SPOILT: dict[str, tuple[Spoil, str]] = {
    "lambda": (add_lambda, "Lambda"),
    "os.system": (call_system, ""),
    "external link": (link_outside, ""),
    "cut": (lambda model, mark: model.write_bytes(model.read_bytes()[:-1000]), ""),
    "flipped": (lambda model, mark: flip_middle(model), ""),
    "empty": (lambda model, mark: model.write_bytes(b""), ""),
    "yaml tag": (tag_yaml, ""),
    "huge yaml": (fill_yaml, "its MLmodel file has more than 1,000,000 bytes"),
    "torch": (wrap_torch, ""),
    "saved model": (claim_saved_model, "is no .keras file"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_an_exchanged_model_is_refused_in_one_line(
    trained: tuple[str, str], logged_model: Path, tmp_path: Path, case: str
) -> None:
    spoil, reason = SPOILT[case]
    mark = tmp_path / "executed"
    spoil(logged_model, mark)
    with pytest.raises(StoreError) as caught:
        verify_run(trained[0], SETTINGS)
    assert not mark.exists()
    assert str(caught.value).startswith(f"the model of run {trained[0]} cannot be loaded (")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_our_own_model_loads_with_pickles_forbidden(
    trained: tuple[str, str], store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", raising=False)
    verify_run(trained[0], SETTINGS)
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
