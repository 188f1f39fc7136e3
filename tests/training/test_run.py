from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.datasets import Dataset, load_data
from pipeline.errors import TrainingError
from pipeline.study.metrics import BY_EPOCH
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.training.evaluation import compile_evaluation, measure_penalty
from pipeline.training.network import build_network
from pipeline.training.observer import Observer
from pipeline.training.randomness import draw_order
from pipeline.training.run import Result, train_run
from pipeline.training.runtime import prepare_runtime
from tests.conftest import ROOT, SUBSET, run_python

VARIANT = find_variant("conv2_3x3")
SMALL = Settings(epochs=1, subset=600, data=str(SUBSET))
TRAIN = """
import sys
from pipeline.data.datasets import load_data
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.training.run import train_run
settings = Settings(epochs=2, subset=600, data=sys.argv[1], seed=int(sys.argv[2]))
dataset = load_data(settings.data, subset=settings.subset)
print(train_run(find_variant("conv2_3x3_reg"), settings, dataset).weights_sha256)
"""


AMBIENT = {
    "KERAS_BACKEND": "torch",
    "KERAS_FLOATX": "float16",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_NUM_INTRAOP_THREADS": "3",
    "OMP_NUM_THREADS": "5",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "TF_SET_ONEDNN_FPMATH_MODE": "BF16",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
}
"""Each of them would change a bit or end the import, were it not settled before."""
KERAS_JSON = '{"backend": "jax", "floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}'


@pytest.mark.slow
def test_a_seed_decides_the_bits_whatever_surrounds_the_process(tmp_path: Path) -> None:
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(KERAS_JSON)
    hostile = {**AMBIENT, "HOME": str(tmp_path)}
    first, second = (
        run_python(ROOT, "-c", TRAIN, str(SUBSET), "0", **surroundings).stdout.split()[-1]
        for surroundings in ({}, hostile)
    )
    assert len(first) == 64
    assert first == second
    assert (tmp_path / ".keras" / "keras.json").read_text() == KERAS_JSON


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_data(str(SUBSET), subset=600)


@pytest.fixture(scope="module")
def whole(dataset: Dataset) -> Result:
    """One training of the plain network."""
    return train_run(VARIANT, SMALL, dataset)


def test_another_seed_gives_other_weights(dataset: Dataset, whole: Result) -> None:
    assert train_run(VARIANT, replace(SMALL, seed=1), dataset).weights_sha256 != whole.weights_sha256


@pytest.mark.slow
def test_a_tensorflow_that_was_imported_before_with_other_settings_is_refused() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TF_E", "KERAS_"))}
    command = [sys.executable, "-c", f"import tensorflow\n{TRAIN}", str(SUBSET), "0"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stderr.splitlines()[-1] == (
        "pipeline.errors.TrainingError: TensorFlow or Keras was imported before pipeline, with another "
        "TF_ENABLE_ONEDNN_OPTS; import pipeline first, in a new process"
    )


def test_evaluation_is_what_keras_says_without_the_penalty() -> None:
    dataset = load_data(str(SUBSET))
    network = build_network(find_variant("conv2_3x3_reg"), seed=0)
    targets = np.eye(10, dtype=np.float32)[dataset.y_test]
    loss, accuracy = network.evaluate(dataset.x_test, targets, verbose=0)
    ours = compile_evaluation(network)(dataset.x_test, dataset.y_test)
    assert measure_penalty(network) > 0.001
    assert ours.loss + measure_penalty(network) == pytest.approx(loss, abs=1e-5)
    assert ours.accuracy == pytest.approx(accuracy, abs=1e-6)
    probabilities = network.predict(dataset.x_test, verbose=0)
    np.testing.assert_allclose(
        np.exp(ours.predictions.log_probability), probabilities[np.arange(500), dataset.y_test], rtol=1e-3, atol=1e-6
    )


def test_finals_are_of_all_training_images_where_epochs_look_at_some(
    dataset: Dataset, whole: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert whole.finals["final/honest_train_loss"] == whole.history[-1]["honest/train_loss"]
    monkeypatch.setattr("pipeline.training.run.PROBE_SIZE", 100)
    result = train_run(VARIANT, SMALL, dataset)
    assert result.history[-1]["honest/train_loss"] != whole.history[-1]["honest/train_loss"]
    assert result.finals["final/honest_train_loss"] == whole.finals["final/honest_train_loss"]
    assert result.finals["final/honest_test_loss"] == whole.finals["final/honest_test_loss"]


def test_the_training_metrics_are_those_of_keras_fit(dataset: Dataset, whole: Result) -> None:
    order = draw_order(SMALL.seed, 1, 600)
    network = build_network(VARIANT, SMALL.seed)
    targets = np.eye(10, dtype=np.float32)[dataset.y_train]
    test = dataset.x_test, np.eye(10, dtype=np.float32)[dataset.y_test]
    fit = network.fit(
        dataset.x_train[order], targets[order], batch_size=128, shuffle=False, validation_data=test, verbose=0
    )
    metrics = whole.history[0]
    assert metrics["train/loss"] == pytest.approx(fit.history["loss"][0], rel=1e-5)
    assert metrics["train/accuracy"] == pytest.approx(fit.history["accuracy"][0], rel=1e-5)
    assert metrics["test/loss"] == pytest.approx(fit.history["val_loss"][0], rel=1e-4)
    assert metrics["test/accuracy"] == pytest.approx(fit.history["val_accuracy"][0], rel=1e-5)


def test_an_observer_hears_every_batch_and_epoch() -> None:
    class Diary(Observer):
        def __init__(self) -> None:
            self.heard: list[object] = []

        def begin_training(self, summary: str, runtime: Mapping[str, object]) -> None:
            self.heard.append("Total params: 232,650" in summary)

        def end_batch(self, epoch: int, batch: int, batches: int) -> None:
            self.heard.append((epoch, batch, batches))

        def end_epoch(self, epoch: int, metrics: dict[str, float], ended: int) -> None:
            self.heard.append((epoch, sorted(metrics)))

        def show_kernels(self, epoch: int, kernels: object) -> None:
            self.heard.append(epoch)

    diary = Diary()
    dataset = load_data(str(SUBSET), subset=300)
    train_run(VARIANT, replace(SMALL, epochs=3), dataset, [diary])
    names = sorted(map(str, BY_EPOCH))
    epochs = [[*((epoch, batch, 3) for batch in (1, 2, 3)), (epoch, names), epoch] for epoch in (1, 2, 3)]
    assert diary.heard == [True, 0, *epochs[0], *epochs[1], *epochs[2]]


def test_a_loss_that_is_not_finite_stops_with_epoch_and_batch(dataset: Dataset) -> None:
    broken = dataset.x_train.copy()
    broken[draw_order(0, 1, 600)[300]] = np.nan  # shown in the third batch of the first epoch
    with pytest.raises(TrainingError, match="no longer finite at epoch 1, batch 3"):
        train_run(VARIANT, SMALL, replace(dataset, x_train=broken))


def test_another_number_of_threads_wants_a_new_process() -> None:
    with pytest.raises(TrainingError, match="use a new process"):
        prepare_runtime(3)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="oneDNN is TensorFlow's switch for x86")
def test_convolutions_are_those_of_onednn() -> None:
    from tensorflow.python.util import _pywrap_util_port

    assert _pywrap_util_port.IsMklEnabled()
