"""The options for a GPU, on a CPU: they must mean the same, if not bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from mlflow.tracking import MlflowClient

from pipeline.data.datasets import Dataset, load_data
from pipeline.errors import RunKilled
from pipeline.serving.predict import load_verified
from pipeline.study.settings import RULES, Settings
from pipeline.study.variants import find_variant
from pipeline.tracking.files.registry import find_run
from pipeline.tracking.runs import read_runs
from pipeline.tracking.store import find_experiment, open_store
from pipeline.training.checkpoint import hold_checkpoints
from pipeline.training.fingerprint import identify_training
from pipeline.training.network import build_network, collect_state
from pipeline.training.run import train_run
from pipeline.training.step import compile_step, count_dropouts, pool_pairs
from tests.conftest import SUBSET, read_run_id, succeed
from tests.training.test_resumed import Interrupt

VARIANT = find_variant("conv2_3x3_reg")
SETTINGS = Settings(epochs=1, subset=300, data=str(SUBSET))
UNIT = {"float32": 2**-24, "mixed_float16": 2**-11, "mixed_bfloat16": 2**-8}
"""The largest relative error of rounding to each precision."""


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_data(SETTINGS.data, subset=SETTINGS.subset)


def train_steps(dataset: Dataset, precision: str = "float32", *, jit: bool = False) -> npt.NDArray[np.float64]:
    """The losses of three steps on the same batch, with the same dropout each time."""
    network = build_network(VARIANT, 0, precision)
    step = compile_step(network, tf.constant(dataset.x_train), tf.one_hot(dataset.y_train, 10), jit=jit)
    seeds = np.full((count_dropouts(network), 2), 7, np.int32)
    losses = [float(step(np.arange(128, dtype=np.int32), 1, seeds)[0]) for _ in range(3)]
    assert {variable.dtype for variable in network.trainable_variables} == {"float32"}
    return np.array(losses)


@pytest.fixture(scope="module")
def usual(dataset: Dataset) -> npt.NDArray[np.float64]:
    return train_steps(dataset)


@pytest.mark.parametrize("precision", RULES["precision"].choices[1:])
def test_a_mixed_precision_rounds_and_changes_nothing_else(
    dataset: Dataset, usual: npt.NDArray[np.float64], precision: str
) -> None:
    losses = train_steps(dataset, precision)
    assert losses.tolist() != usual.tolist()
    # some ten roundings in a row, each of the precision's unit
    np.testing.assert_allclose(losses, usual, rtol=10 * UNIT[precision])


@pytest.mark.slow
def test_xla_draws_and_computes_the_same(dataset: Dataset, usual: npt.NDArray[np.float64]) -> None:
    np.testing.assert_allclose(train_steps(dataset, jit=True), usual, rtol=1000 * UNIT["float32"])


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", [6, 7])
def test_pooling_for_xla_is_that_of_keras(size: int, padding: str) -> None:
    values = tf.random.stateless_normal((3, size, size, 2), (1, size))
    results = []
    for pool in (keras.layers.MaxPooling2D((2, 2), padding=padding), lambda given: pool_pairs(given, padding)):
        with tf.GradientTape() as tape:
            tape.watch(values)
            pooled = pool(values)
            total = tf.reduce_sum(pooled**2)
        results.append((np.asarray(pooled), np.asarray(tape.gradient(total, values))))
    for usual, ours in zip(*results, strict=True):
        assert np.array_equal(usual, ours)


def test_a_step_whose_scaled_gradient_overflows_is_skipped_and_no_failure(dataset: Dataset) -> None:
    network = build_network(VARIANT, 0, "mixed_float16")
    step = compile_step(network, tf.constant(dataset.x_train), tf.one_hot(dataset.y_train, 10))
    network.optimizer.dynamic_scale.assign(2.0**127)
    before = collect_state(network)
    loss, _ = step(np.arange(128, dtype=np.int32), 1, np.zeros((count_dropouts(network), 2), np.int32))
    assert np.isfinite(loss)
    after = collect_state(network)
    kernels = [name for name in before if name.startswith("network") and name.endswith("kernel")]
    assert all(np.array_equal(before[name], after[name]) for name in kernels)
    assert float(network.optimizer.dynamic_scale) == 2.0**126


@pytest.mark.slow
def test_a_resumed_mixed_training_ends_with_the_same_bits(dataset: Dataset, tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=2, precision="mixed_float16")
    config = identify_training(VARIANT, settings, dataset.sha256)
    with hold_checkpoints(tmp_path / "whole", config) as checkpoints:
        whole = train_run(VARIANT, settings, dataset, [], checkpoints)
    with hold_checkpoints(tmp_path / "cut", config) as checkpoints, pytest.raises(RunKilled):
        train_run(VARIANT, settings, dataset, [Interrupt(2)], checkpoints)
    with hold_checkpoints(tmp_path / "cut", config) as checkpoints:
        resumed = train_run(VARIANT, settings, dataset, [], checkpoints)
    assert resumed.weights_sha256 == whole.weights_sha256
    states = [collect_state(result.network) for result in (whole, resumed)]
    assert any("dynamic" in name for name in states[0])
    for name, values in states[0].items():
        assert np.array_equal(values, states[1][name]), name


def test_a_run_of_an_earlier_version_is_of_the_only_kind_there_was(store_uri: str) -> None:
    store = open_store()
    experiment_id = find_experiment(store, "earlier", create=True)
    run = store.client.create_run(experiment_id, tags={"kind": "train", "outcome": "finished", "variant": "conv2_3x3"})
    runs = read_runs(store, experiment_id)
    assert runs[["run_id", "precision", "jit"]].to_numpy().tolist() == [[run.info.run_id, "float32", "off"]]


@pytest.mark.slow
def test_the_command_takes_both_options_and_the_model_is_served(store_uri: str, undrawn: None) -> None:
    options = ("--precision=mixed_bfloat16", "--jit=on")
    result = succeed("train", "--epochs=1", "--subset=300", f"--data={SUBSET}", *options)
    run_id = read_run_id(result.output)
    params = MlflowClient().get_run(run_id).data.params
    assert (params["precision"], params["jit"]) == ("mixed_bfloat16", "on")
    run = find_run(open_store(), run_id)
    assert load_verified(run).layers[0].compute_dtype == "bfloat16"
