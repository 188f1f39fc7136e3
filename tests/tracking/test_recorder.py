from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from pipeline import interrupts
from pipeline.data.datasets import load_data
from pipeline.errors import DataError, RunKilled, StoreError
from pipeline.study.facts import describe_settings
from pipeline.study.metrics import BY_EPOCH, FINALS
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.tracking.files.artifacts import check_artifacts
from pipeline.tracking.files.model import verify_run
from pipeline.tracking.store import open_store
from pipeline.tracking.write import recorder as recorder_module
from pipeline.tracking.write.recorder import Recorder, fail_adopted_run, record_run
from tests.conftest import ROOT, SUBSET, call, read_run_id


def test_every_hyperparameter_is_logged(client: MlflowClient, trained: tuple[str, str]) -> None:
    params = client.get_run(trained[0]).data.params
    assert params == {
        **{name: str(value) for name, value in describe_settings(Settings(epochs=2, data=str(SUBSET))).items()},
        **{"arch": "conv2_3x3_reg", "data-name": "data-bd5aa66b41f2"},
        "data-sha256": load_data(str(SUBSET)).sha256,
        **{"depth-called": "2", "depth-counted": "2", "kernel": "3", "filters": "32-64", "padding": "valid"},
        **{"features": "32 M D 64 M D", "head": "128 B D 64 B D", "pooling": "max 2x2 valid", "regularised": "True"},
        **{"dropout": "0.5", "dropout-layers": "4", "batch-norm": "True", "l2": "1e-05", "initialiser": "he_normal"},
        **{"optimiser": "adam", "learning-rate": "0.001", "loss": "categorical_crossentropy"},
        **{"parameters": "233418", "parameters-trainable": "233034", "image-shape": "28x28x1", "classes": "10"},
    }


def test_a_metric_has_one_point_an_epoch_and_finals_stand_apart(client: MlflowClient, trained: tuple[str, str]) -> None:
    metrics = client.get_run(trained[0]).data.metrics
    assert set(metrics) == {*BY_EPOCH, *FINALS}
    for name in BY_EPOCH:
        assert [point.step for point in client.get_metric_history(trained[0], name)] == [1, 2]
    assert metrics["final/gap_honest"] == pytest.approx(
        metrics["final/honest_test_loss"] - metrics["final/honest_train_loss"]
    )
    assert metrics["final/test_loss"] > metrics["final/honest_test_loss"]  # the penalty
    assert 0.3 < metrics["final/test_accuracy"] < 1


def test_every_artifact_is_there_and_readable(client: MlflowClient, trained: tuple[str, str]) -> None:
    run_id = trained[0]
    check_artifacts(open_store(), run_id)
    summary = Path(client.download_artifacts(run_id, "model_summary.txt")).read_text()
    assert "Total params: 233,418" in summary
    assert "Non-trainable params: 384" in summary
    environment = json.loads(Path(client.download_artifacts(run_id, "environment.json")).read_text())
    assert environment["versions"]["mlflow"] == mlflow.__version__
    said = [environment[name] for name in ("backend", "image_data_format", "floatx", "threads")]
    assert said == ["tensorflow", "channels_last", "float32", 2]
    assert any(package.startswith("tensorflow==") for package in environment["packages"])
    assert {file.path.split("+")[2] for file in client.list_artifacts(run_id, "images")} == {"0", "1", "2"}


def test_the_saved_model_predicts_what_was_logged(client: MlflowClient, trained: tuple[str, str]) -> None:
    run_id = trained[0]
    verify_run(run_id, Settings(data=str(SUBSET)))
    dataset = load_data(str(SUBSET))
    with np.load(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/predictions.npz")) as logged:
        assert np.array_equal(logged["label"], dataset.y_test)
        probabilities = mlflow.pyfunc.load_model(f"runs:/{run_id}/model").predict(dataset.raw.x_test)
        assert np.array_equal(probabilities.argmax(axis=1), logged["predicted"])
        chosen = probabilities[np.arange(500), dataset.y_test]
        np.testing.assert_allclose(np.exp(logged["log_probability"]), chosen, rtol=1e-3, atol=1e-6)
        assert logged["recent"] == 2  # of two epochs
        assert set(logged["recent_wrong"]) == {0, 1, 2}
        history = client.get_metric_history(run_id, "honest/test_loss")
        mean = -logged["recent_log_probability"].mean(dtype=np.float64)
        assert mean == pytest.approx(np.mean([point.value for point in history]), rel=1e-4)
    model = mlflow.models.get_model_info(f"runs:/{run_id}/model")
    assert model.signature.inputs.to_dict()[0]["tensor-spec"] == {"dtype": "uint8", "shape": (-1, 28, 28)}


def test_a_missing_artifact_is_named(client: MlflowClient, trained: tuple[str, str], tmp_path: Path) -> None:
    loss = Path(client.get_run(trained[0]).info.artifact_uri) / "figures" / "loss.png"
    loss.rename(tmp_path / "loss.png")
    with pytest.raises(StoreError, match=r"lacks figures/loss\.png; train it again"):
        verify_run(trained[0], Settings(data=str(SUBSET)))
    (tmp_path / "loss.png").rename(loss)


def test_tags_say_what_ran_where_and_how_it_ended(client: MlflowClient, trained: tuple[str, str]) -> None:
    run = client.get_run(trained[0])
    tags = run.data.tags
    assert (run.info.run_name, run.info.status) == ("conv2_3x3_reg-s0", "FINISHED")
    assert (tags["kind"], tags["variant"], tags["twin"]) == ("train", "conv2_3x3_reg", "conv2_3x3")
    assert (tags["outcome"], tags["outcome.reason"]) == ("finished", "completed")
    assert "host" in tags
    assert not {"pid", "pid_started", "boot_id", "heartbeat"} & set(tags)  # it has finished: they tell nobody anything
    assert tags["mlflow.runColor"] == "#0072B2"
    assert tags["weights.sha256"] in trained[1]
    note = tags["mlflow.note.content"]
    finals = run.data.metrics
    assert note.startswith(
        f"### conv2_3x3_reg, seed 0: test accuracy {100 * finals['final/test_accuracy']:.2f} %, "
        f"test loss {finals['final/honest_test_loss']:.4f}, gap {finals['final/gap_honest']:+.4f}\n"
    )
    assert "`mlflow run . --env-manager local -P arch=conv2_3x3_reg -P epochs=2 -P data=" in note
    (dataset,) = run.inputs.dataset_inputs
    assert tags["data.sha256"] in dataset.dataset.profile
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert tags["mlflow.source.git.commit"] == commit.strip()


@pytest.mark.parametrize(
    ("error", "raised", "status", "outcome", "reason"),
    [
        (DataError("no digits"), DataError, "FAILED", "failed", "no digits"),
        (MemoryError("too big"), MemoryError, "FAILED", "failed", "MemoryError: too big"),
        (RunKilled(15), RunKilled, "KILLED", "killed", "SIGTERM"),
        (mlflow.MlflowException("locked"), StoreError, "FAILED", "failed", "MlflowException: locked"),
    ],
)
def test_however_a_run_ends_it_is_ended_with_the_reason(
    client: MlflowClient, error: BaseException, raised: type[BaseException], status: str, outcome: str, reason: str
) -> None:
    ids = []

    def fail_after_start() -> None:
        with record_run(open_store(), find_variant("conv2_3x3"), Settings()) as recorder:
            ids.append(recorder.run_id)
            raise error

    with pytest.raises(raised):
        fail_after_start()
    run = client.get_run(ids[0])
    assert (run.info.status, run.data.tags["outcome"], run.data.tags["outcome.reason"]) == (status, outcome, reason)


def test_the_launchers_run_is_adopted_with_its_params_and_name(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = client.create_run("0", run_name="my-own-name").info.run_id
    client.log_param(mine, "epochs", "03")
    monkeypatch.setenv("MLFLOW_RUN_ID", mine)
    variant, settings = find_variant("conv2_3x3"), Settings(epochs=3)
    with record_run(open_store(), variant, settings) as recorder:
        recorder.log_source(variant, settings)
    run = client.get_run(mine)
    assert recorder.run_id == mine
    assert (run.info.run_name, run.data.params["epochs"], run.data.params["seed"]) == ("my-own-name", "03", "0")


def test_a_launchers_run_that_nobody_took_up_is_failed_with_the_reason(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    fail_adopted_run(open_store(), "epochs must be positive")
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["outcome.reason"]) == ("FAILED", "epochs must be positive")


@pytest.fixture
def handled() -> Iterator[None]:
    """Signals are handled as in a training, from the first one on."""
    interrupts.install()
    yield
    interrupts.install()


def test_a_signal_between_a_run_and_its_guard_still_ends_it(
    client: MlflowClient, handled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = recorder_module.create_run
    ids = []

    def create_and_receive(*arguments: str) -> str:
        ids.append(created(*arguments))
        signal.raise_signal(signal.SIGTERM)
        return ids[0]

    monkeypatch.setattr(recorder_module, "create_run", create_and_receive)
    with pytest.raises(RunKilled), record_run(open_store(), find_variant("conv2_3x3"), Settings()):
        pytest.fail("the signal came before the block")
    run = client.get_run(ids[0])
    assert (run.info.status, run.data.tags["outcome"]) == ("KILLED", "killed")


def test_a_signal_in_the_middle_of_a_write_waits_for_its_end(
    client: MlflowClient, handled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = []

    def train() -> None:
        with record_run(open_store(), find_variant("conv2_3x3"), Settings()) as recorder:
            ids.append(recorder.run_id)
            log = recorder.log

            def log_and_receive(*arguments: object, **more: object) -> None:
                signal.raise_signal(signal.SIGINT)
                log(*arguments, **more)  # type: ignore[arg-type]

            monkeypatch.setattr(recorder, "log", log_and_receive)
            recorder.end_epoch(1, {"test/loss": 0.5})
            pytest.fail("the signal is raised once the epoch is logged")

    with pytest.raises(RunKilled):
        train()
    run = client.get_run(ids[0])
    assert run.data.metrics["test/loss"] == 0.5
    assert (run.info.status, run.data.tags["outcome.reason"]) == ("KILLED", "SIGINT")


def test_a_run_with_a_loss_that_is_not_finite_fails_with_epoch_and_batch(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.training.network.LEARNING_RATE", 1e30)
    result = call("train", "--data", str(SUBSET), "--subset", "600", "--epochs", "1")
    assert result.exit_code == 1
    reason = "the loss or a weight is no longer finite at epoch 1, batch "
    assert result.stderr.splitlines()[-1].startswith(f"Error: {reason}")
    run = client.get_run(read_run_id(result.output))
    assert (run.info.status, run.data.tags["outcome"]) == ("FAILED", "failed")
    assert run.data.tags["outcome.reason"].startswith(reason)


def test_runs_that_log_the_same_data_at_the_same_moment_both_have_them(client: MlflowClient) -> None:
    store, together = open_store(), Barrier(2)
    dataset = load_data(str(SUBSET), subset=600)
    digests = [f"{number:064}" for number in range(5)]

    def log_all(run_ids: list[str]) -> None:
        for run_id, sha256 in zip(run_ids, digests, strict=True):
            together.wait(timeout=20)
            Recorder(store, run_id).log_dataset(dataclasses.replace(dataset, sha256=sha256))

    experiment_id = client.create_experiment("same data")
    runs = [[client.create_run(experiment_id).info.run_id for _ in digests] for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(log_all, runs))
    for run_id in (*runs[0], *runs[1]):
        assert len(client.get_run(run_id).inputs.dataset_inputs) == 1
