from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline.tracking.files.hashes import record_hashes
from pipeline.tracking.store import open_store
from pipeline.tracking.write.recorder import Recorder
from tests.conftest import call, entered, flip_middle, refuse, succeed
from tests.serving.champion import declare, give_model, plant_seeds
from tests.serving.pictures import draw, load_test_digits, save


@pytest.fixture(scope="module")
def study(trained: tuple[str, str], store_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """(its file, the run to be promoted) of an experiment that was declared before its first run."""
    with entered(store_folder):
        path = declare(tmp_path_factory.mktemp("study"), "promoted")
        run_id = plant_seeds("promoted")
        give_model(run_id, trained[0])
    return str(path), run_id


def test_the_run_that_the_claims_carry_becomes_champion(study: tuple[str, str], store_uri: str, tmp_path: Path) -> None:
    path, run_id = study
    promoted = call("promote", path, "--model", "digits")
    serve = "serve it: mlflow models serve -m models:/digits@champion --env-manager local\n"
    line = f"conv2_3x3_reg, seed 0, run {run_id}: version 1 of digits"
    assert (promoted.output, promoted.exit_code) == (f"{line} is now its champion\n{serve}", 0)
    again = call("promote", path, "--model", "digits")
    assert (again.output, again.exit_code) == (f"{line} was and stays its champion\n{serve}", 0)

    client = open_store().client
    version = client.get_model_version_by_alias("digits", "champion")
    card = Path(client.download_artifacts(run_id, "model_card.md")).read_text()
    assert (version.run_id, version.description, int(version.version)) == (run_id, card, 1)
    assert card.startswith("# conv2_3x3_reg, seed 0: handwritten digits\n")
    for part in ("mean of 5 seeds", "500 test images", "(loss SUPPORTED) chose the regularised arm", f"`{run_id}`"):
        assert part in card

    picture = save(draw(load_test_digits(1)[0], 80, 9), tmp_path / "seven.png")
    answer = succeed("predict", str(picture), "--model", "digits")
    assert answer.stderr == f"digits version 1: conv2_3x3_reg, seed 0, 4 epochs; run {run_id}\n"


def test_a_damaged_run_is_not_promoted(study: tuple[str, str], store_uri: str) -> None:
    path, run_id = study
    store = open_store()
    record_hashes(Recorder(store, run_id))
    run = store.client.get_run(run_id)
    (model,) = store.client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")
    network = Path(urlsplit(model.artifact_location).path) / "data" / "model.keras"
    predictions = Path(urlsplit(run.info.artifact_uri).path) / "predictions.npz"
    for file, said in ((network, "model/data/model.keras"), (predictions, "predictions.npz")):
        whole = file.read_bytes()
        for state in ("changed", "missing"):
            file.unlink()
            if state == "changed":
                file.write_bytes(whole)
                flip_middle(file)
            refused = refuse("promote", path, "--model", "broken")
            file.write_bytes(whole)
            assert said in refused
    assert not store.client.search_registered_models("name = 'broken'")
    assert call("promote", path, "--model", "whole").exit_code == 0


def test_a_champion_that_somebody_set_by_hand_is_refused(
    study: tuple[str, str], trained: tuple[str, str], store_uri: str, tmp_path: Path
) -> None:
    """Its version names one run and holds another's model."""
    client = open_store().client
    (other,) = client.search_logged_models(["0"], f"source_run_id = '{trained[0]}'")
    client.create_registered_model("forged")
    version = client.create_model_version("forged", other.model_uri, run_id=study[1])
    client.set_registered_model_alias("forged", "champion", version.version)
    picture = save(draw(load_test_digits(1)[0]), tmp_path / "seven.png")
    line = "Error: version 1 of forged is not the model of its run; promote it again\n"
    assert refuse("predict", str(picture), "--model", "forged") == line


def test_an_experiment_with_claims_is_promoted_by_its_file(study: tuple[str, str], store_uri: str) -> None:
    line = "Error: the experiment has declared claims; give its file, so that they are judged\n"
    assert refuse("promote", "promoted", "--variant", "conv2_3x3_reg") == line


def test_the_arm_that_lost_is_refused(study: tuple[str, str], store_uri: str) -> None:
    line = (
        "Error: the claims (loss SUPPORTED) choose the regularised arm, and conv2_3x3 is plain; promote its twin "
        "conv2_3x3_reg\n"
    )
    assert refuse("promote", study[0], "--variant", "conv2_3x3") == line


def test_claims_that_were_written_after_the_runs_choose_nothing(store_uri: str, tmp_path: Path) -> None:
    path = declare(tmp_path, "late", frozen=False)
    plant_seeds("late")
    open_store().client.set_experiment_tag(
        open_store().client.get_experiment_by_name("late").experiment_id, "plan.frozen_at", "2100-01-01T00:00:00+00:00"
    )
    result = call("promote", str(path))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "Error: the claims were not frozen before the first run, so they may have been chosen by test results; "
        "train again, or name the variant with --variant"
    )


def test_no_run_and_too_few_seeds_are_refused(store_uri: str, tmp_path: Path) -> None:
    path = str(declare(tmp_path, "few"))
    assert refuse("promote", path).startswith("Error: no finished run with epochs 4 ")
    plant_seeds("few", range(4))
    few = refuse("promote", path)
    assert few.startswith('Error: the claim "loss" is UNTESTABLE: ')
    assert few.endswith("; train the missing cells with `python -m pipeline sweep`\n")


def test_a_run_that_is_not_whole_is_refused(study: tuple[str, str], store_uri: str, tmp_path: Path) -> None:
    path, run_id = study
    folder = Path(urlsplit(open_store().client.get_run(run_id).info.artifact_uri).path)
    shutil.move(folder / "predictions.npz", tmp_path)
    try:
        line = refuse("promote", path, "--model", "broken")
    finally:
        shutil.move(tmp_path / "predictions.npz", folder)
    assert line == f"Error: run {run_id} lacks predictions.npz; train it again\n"
    unknown = call("predict", "--model", "broken", str(save(draw(load_test_digits(1)[0]), tmp_path / "7.png")))
    assert unknown.stderr.startswith('Error: the store has no champion of the model "broken"; ')
