"""Images that are not MNIST's, from end to end: letters in 26 classes, and things in colour with names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

from pipeline.data.datasets import load_data, normalise
from pipeline.serving.card import Source, write_card
from pipeline.serving.predict import load_verified, predict_images
from pipeline.serving.promote import Choice
from pipeline.study.experiment import load_experiment
from pipeline.study.layers import count_parameters
from pipeline.tracking.files.model import verify_run
from pipeline.tracking.files.registry import find_run, read_images
from pipeline.tracking.store import open_store
from pipeline.workflows.compare import find_comparison
from tests.conftest import call, enter, entered, read_run_id, refuse, succeed
from tests.made import LETTERS, THINGS, write_letters, write_things

pytestmark = pytest.mark.usefixtures("undrawn")
STUDY = """
seeds = [0]
settings = {{ data = "{data}", epochs = 1, batch_size = 16, normalization = "{normalization}" }}
variant = [
    {{ name = "tiny", kernel = 3, features = "4 M 8 M", head = "16", twin = "tiny_reg" }},
    {{ name = "tiny_reg", kernel = 3, features = "4 M D 8 M D", head = "16 B D", regularised = true, twin = "tiny" }},
]
"""
SETS = {"things": ("things.npz", "l2"), "letters": ("letters", "scale")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Somebody's folder with a store, the studies below it, and the trained networks of both."""
    folder = tmp_path_factory.mktemp("somebody")
    (folder / "studies").mkdir()
    write_things(folder / "studies" / "things.npz")
    write_letters(folder / "studies" / "letters")
    ids = {}
    with entered(folder) as patch:
        for name, (data, normalization) in SETS.items():
            (folder / "studies" / f"{name}.toml").write_text(STUDY.format(data=data, normalization=normalization))
            patch.setenv("MLFLOW_EXPERIMENT_NAME", name)
            options = {"data": f"studies/{data}", "normalization": normalization, "batch-size": 16}
            words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
            for arch in ("tiny", "tiny_reg")[: 2 if name == "things" else 1]:
                file = f"studies/{name}.toml"
                result = succeed("train", "--variants", file, "--arch", arch, "--epochs", "1", *words)
                ids[f"{name} {arch}"] = read_run_id(result.output)
    return folder, ids


@pytest.fixture
def ids(made: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    enter(made[0], monkeypatch)
    return made[1]


def test_the_run_says_what_its_images_and_its_network_are(ids: dict[str, str]) -> None:
    run = open_store().client.get_run(ids["things tiny"])
    row, images = load_experiment("studies/things.toml").table["tiny"], load_data("studies/things.npz").images
    assert (run.data.params["image-shape"], run.data.params["classes"]) == ("32x32x3", "4")
    assert run.data.params["parameters"] == str(count_parameters(row, images)[0])
    assert count_parameters(row, images)[0] == 3 * 9 * 4 + 4 + 4 * 9 * 8 + 8 + 6 * 6 * 8 * 16 + 16 + 17 * 4
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.schema == '{"images": "uint8 (N, 32, 32, 3)", "labels": "uint8 (N,)"}'
    assert read_images(open_store(), ids["things tiny"]) == images
    assert images.classes == THINGS
    letters = open_store().client.get_run(ids["letters tiny"]).data
    assert (letters.params["image-shape"], letters.params["classes"]) == ("28x28x1", "26")
    assert (letters.tags["data.ink"], run.data.tags["data.ink"]) == ("light", "none")
    assert read_images(open_store(), ids["letters tiny"]).classes[:2] == ("A/a", "B/b")


@pytest.mark.parametrize("name", ["things", "letters"])
def test_the_logged_model_is_given_pixels_and_refuses_anything_else(ids: dict[str, str], name: str) -> None:
    """The model's own normalisation is the data room's to the bit, and so are the answers."""
    run = find_run(open_store(), ids[f"{name} tiny"])
    data, normalization = SETS[name]
    raw = load_data(f"studies/{data}").raw.x_test
    served = mlflow.pyfunc.load_model(f"runs:/{run.run_id}/model")
    assert np.array_equal(served.predict(raw), predict_images(load_verified(run), raw, normalization))
    with pytest.raises(MlflowException, match=r"uint8"):
        served.predict(normalise(raw, normalization))
    experiment = load_experiment(f"studies/{name}.toml")
    verify_run(run.run_id, experiment.settings)


def test_a_study_is_compared_and_reported_with_the_networks_it_has(ids: dict[str, str], tmp_path: Path) -> None:
    result = succeed("compare", "studies/things.toml", "--truth")
    assert "2 runs of 2 variants" in result.output
    run = open_store().client.get_run(ids["things tiny"])
    assert re.search(rf"^tiny .* {run.data.params['parameters']} ", result.output, re.MULTILINE)
    succeed("report", "studies/things.toml", "--output", str(tmp_path / "things.html"))
    assert "tiny_reg" in (tmp_path / "things.html").read_text()
    drawn = tmp_path / "differing.png"
    differing = succeed("compare", ids["things tiny"], ids["things tiny_reg"], "--output", str(drawn))
    assert differing.output.startswith("Of 80 test images both got ")


def test_predict_sees_the_whole_picture_in_colour_and_names_the_class(ids: dict[str, str], tmp_path: Path) -> None:
    raw = load_data("studies/things.npz").raw
    Image.fromarray(raw.x_test[0]).save(tmp_path / "blue.png")
    wide = np.full((40, 80, 3), (10, 200, 30), np.uint8)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    asked = ("--variant", "tiny", "--experiment", "studies/things.toml")
    paths = [str(tmp_path / name) for name in ("blue.png", "wide.png")]
    first, second = json.loads(call("predict", *paths, *asked, "--request").stdout)["inputs"]
    assert np.array_equal(first, raw.x_test[0])  # an image of the set is shown as it is
    assert np.array_equal(second, np.full((32, 32, 3), (10, 200, 30)))  # on the ground of its own edge
    result = succeed("predict", paths[0], *asked)
    head, line = result.stdout.splitlines()
    assert head.split() == ["class", "picture", "then"]
    assert any(line.startswith(f"{name} (") for name in THINGS)
    answer = json.loads(call("predict", paths[0], *asked, "--format", "json").stdout)
    assert list(answer) == ["file", "class", "probabilities", "warnings"]
    assert answer["class"] == max(THINGS, key=answer["probabilities"].__getitem__)
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_a_letter_is_shown_as_the_letters_are(ids: dict[str, str], tmp_path: Path) -> None:
    letter = load_data("studies/letters").raw.x_test[3]
    Image.fromarray(letter).save(tmp_path / "d.png")
    Image.fromarray(255 - letter).save(tmp_path / "ink.png")
    asked = ("--variant", "tiny", "--experiment", "studies/letters.toml")
    paths = [str(tmp_path / name) for name in ("d.png", "ink.png")]
    first, second = json.loads(call("predict", *paths, *asked, "--request").stdout)["inputs"]
    assert np.array_equal(first, letter)
    assert np.array_equal(second, letter)
    answers = [json.loads(line) for line in call("predict", *paths, *asked, "--format", "json").stdout.splitlines()]
    assert len(answers[0]["probabilities"]) == LETTERS
    assert answers[0]["class"] == answers[1]["class"]


def test_the_card_names_the_classes_and_what_the_model_takes(ids: dict[str, str]) -> None:
    found = find_comparison("studies/things.toml")
    run = find_run(open_store(), ids["things tiny"])
    runs = found.comparison.runs[found.comparison.runs["variant"] == "tiny"]
    row = load_experiment("studies/things.toml").table["tiny"]
    choice = Choice(variant=row, runs=runs, reason="Named.", verdicts=[])
    images = read_images(open_store(), run.run_id)
    card = write_card(choice, Source(experiment="things", facts=run.facts, versions={}, test_images=80, images=images))
    for part in (
        "# tiny, seed 0: 4 classes of 32x32 pictures",
        "probabilities of the 4 classes `blue disc`, `green disc`, `green square`, `red square` for a 32x32 colour",
        f"{count_parameters(row, images)[0]:,} parameters.",
        "Input is uint8 (N, 32, 32, 3): pixels of 0 to 255. The model normalises them itself. MLflow refuses an array",
    ):
        assert part in card


def test_a_network_that_pools_an_image_away_is_refused_before_anything_is_trained(ids: dict[str, str]) -> None:
    small = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    np.savez("small.npz", x_train=small, y_train=np.arange(60) % 2, x_test=small[:20], y_test=np.arange(20) % 2)
    line = "Error: tiny: pool2 leaves 0x0 of a 8x8 image; take a smaller kernel or fewer layers, or pad with same\n"
    study = STUDY.format(data="../small.npz", normalization="l2")
    Path("studies/small.toml").write_text(study)
    for command in ("sweep", "plan"):
        assert refuse(command, "studies/small.toml") == line
    trained = call("train", "--variants", "studies/small.toml", "--arch", "tiny", "--data", "small.npz")
    assert trained.output.endswith(line)
    assert trained.exit_code == 1


def test_a_files_data_are_found_from_the_files_own_folder(ids: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan that is frozen keeps what the file says, so that it is the same from every folder."""
    assert load_experiment("studies/things.toml").settings.data == "studies/things.npz"
    plan = call("plan", "studies/things.toml").output
    assert f"{'tiny-s0':<26}finished  {ids['things tiny']}" in plan
    monkeypatch.chdir("studies")
    assert load_experiment("things.toml").settings.data == "things.npz"
    assert call("plan", "things.toml").output == plan


def test_data_says_what_is_in_both_sets(ids: dict[str, str]) -> None:
    for name, found in {
        "things": ("images: 32x32, colour, ", "classes: 4", "training images by class: blue disc 60, "),
        "letters": ("images: 28x28, grey, 0 to ", "classes: 26", "training images by class: A/a 10, B/b 10, "),
    }.items():
        said = succeed("data", "--data", f"studies/{SETS[name][0]}")
        for line, start in zip(said.stdout.splitlines()[2:], found, strict=False):
            assert line.startswith(start)


def test_letters_are_compared_and_reported_too(ids: dict[str, str]) -> None:
    for command in (("compare",), ("report", "--output", "letters.html")):
        succeed(command[0], "studies/letters.toml", *command[1:])
