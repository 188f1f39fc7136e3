from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.errors import ExperimentError
from pipeline.study.claims import Claim, hash_claim
from pipeline.study.experiment import SETTINGS_KEYS, Experiment, find_data, hash_plan, load_experiment, parse_seeds
from pipeline.study.settings import Settings
from pipeline.study.variants import VARIANTS, matched_twins, published_variants

FOLDER = Path(__file__).resolve().parents[2] / "experiments"
FILES = sorted(FOLDER.glob("*.toml"))

HEAD = 'variants = ["conv2_3x3", "conv2_3x3_reg"]\nseeds = [0]\n'
CLAIM = """[[claims]]
name = "C1"
statement = "the gap shrinks"
estimand = "gap"
direction = "lower"
smallest_effect = 0.005
"""
LEVEL = CLAIM.replace('"gap"', '"onset"') + 'contrast = "plain"\nepochs = [10, 15]\nsmallest_rise = 0.005\n'


def load_text(folder: Path, text: str):
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_experiment(path)


def read_error(folder: Path, text: str) -> str:
    with pytest.raises(ExperimentError) as caught:
        load_text(folder, text)
    return str(caught.value).removeprefix(str(folder / "mine.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_experiment_file_loads(path):
    experiment = load_experiment(path)
    assert experiment.name == path.stem
    assert set(experiment.variants) <= set(experiment.table)
    assert list(hash_plan(experiment)) == ["", *(claim.name for claim in experiment.claims)]


LOOKS = 'variants = ["conv2_3x3", "conv2_3x3_reg"]\nseeds = [0, 1, 2, 3, 4, 5, 6]\nlooks = {}\n'


def test_there_are_experiment_files():
    assert {"mnist14", "matched", "smoke"} <= {path.stem for path in FILES}


def test_mnist14_is_the_notebooks_study():
    experiment = load_experiment(FOLDER / "mnist14.toml")
    assert experiment.variants == tuple(row.name for row in published_variants())
    assert (experiment.seeds, experiment.settings, experiment.claims) == ((0,), Settings(threads=1), ())


def test_matched_has_every_twin_and_the_three_claims():
    experiment = load_experiment(FOLDER / "matched.toml")
    assert experiment.variants == tuple(row.name for pair in matched_twins(VARIANTS, VARIANTS) for row in pair)
    assert experiment.seeds == (0, 1, 2, 3, 4)
    claims = {claim.name: claim for claim in experiment.claims}
    assert list(claims) == ["C1 gap", "C2 test error", "C2 test loss", "C3 onset", "by depth", "generalises better"]
    assert claims["C2 test error"].smallest_effect == 0.001
    assert claims["C3 onset"].epochs == (10, 15)
    assert claims["by depth"].by == "depth"
    assert claims["generalises better"].all_of == ("C1 gap", "C2 test error", "C2 test loss")


def test_twins_are_those_of_up_to_five_convolutions_looked_at_three_times():
    experiment = load_experiment(FOLDER / "twins.toml")
    twins = [pair for pair in matched_twins(VARIANTS, VARIANTS) if pair[0].depth_counted <= 5]
    assert experiment.variants == tuple(row.name for pair in twins for row in pair)
    assert (experiment.seeds, experiment.looks) == (tuple(range(15)), (5, 10, 15))
    claims = {claim.name: claim for claim in experiment.claims}
    assert list(claims) == ["C1 gap", "C2 test error", "C2 test loss", "C3 onset", "by depth", "generalises better"]
    assert {claim.at for claim in claims.values() if claim.estimand not in ("", "onset")} == {"mean of last 3 epochs"}
    assert claims["C2 test error"].over == claims["C2 test loss"].over == "seeds and images"
    assert experiment.settings == Settings(threads=1)


def test_smoke_needs_no_network():
    experiment = load_experiment(FOLDER / "smoke.toml")
    assert experiment.variants == ("conv2_3x3", "conv2_3x3_reg")
    assert (FOLDER.parent / experiment.settings.data).is_file()
    assert experiment.settings.epochs == 1


def test_a_file_may_say_every_setting_but_the_seed():
    assert {*SETTINGS_KEYS, "seed"} == {setting.name for setting in fields(Settings)}


def test_a_file_says_what_differs_and_the_protocol_says_the_rest(tmp_path):
    experiment = load_text(tmp_path, 'name = "other"\n' + HEAD + "[settings]\nepochs = 3\n" + CLAIM)
    assert experiment.name == "other"
    assert experiment.settings == Settings(epochs=3)
    assert experiment.claims == (
        Claim(name="C1", statement="the gap shrinks", estimand="gap", direction="lower", smallest_effect=0.005),
    )


ALL = '[[claims]]\nname = "all"\nstatement = "all hold"\n'
BROKEN = [
    ("variants = [", ": not valid TOML (Invalid value (at end of document)); fix that line"),
    ("seeds = [0]", ": variants: missing; add it"),
    (HEAD.replace("[0]", "[0, 0]"), ": seeds: [0, 0] does not fit; give a list of different whole numbers from 0"),
    (HEAD.replace("[0]", "[-1]"), ": seeds: [-1] does not fit; give a list of different whole numbers from 0"),
    (HEAD.replace("[0]", "[]"), ": seeds: [] does not fit; give a list of different whole numbers from 0"),
    ('name = "a/b"\n' + HEAD, ": name: 'a/b' does not fit; give letters, digits, dot, dash and underscore alone"),
    (LOOKS.format("[7, 5]") + CLAIM, ": looks: must rise, and end with all 7 seeds"),
    (LOOKS.format("[5]") + CLAIM, ": looks: must rise, and end with all 7 seeds"),
]
ADDED = [  # to HEAD
    (
        "epochs = 3",
        ": epochs: unknown key; choose one of name, description, variants, seeds, looks, settings, claims, variant",
    ),
    ("[settings]\nseed = 3", f": settings.seed: unknown key; choose one of {', '.join(SETTINGS_KEYS)}"),
    ("[settings]\nepochs = 0", ": settings.epochs: 0 does not fit; give a whole number from 1 to 10000"),
    ("[settings]\nepochs = true", ": settings.epochs: True does not fit; give a whole number from 1 to 10000"),
    (
        '[settings]\nbatch_size = "128"',
        ": settings.batch_size: '128' does not fit; give a whole number from 1 to 60000",
    ),
    ('[settings]\nnormalization = "l3"', ': settings.normalization: \'l3\' does not fit; give one of "l2", "scale"'),
    (
        CLAIM + "margin = 1",
        ": claims[C1].margin: unknown key; choose one of name, statement, estimand, "
        "contrast, by, direction, smallest_effect, reference, epochs, smallest_rise, at, over, alpha, family, "
        "all_of",
    ),
    (CLAIM.replace("0.005", "0"), ": claims[C1].smallest_effect: 0 does not fit; give a number above 0"),
    (CLAIM.replace("0.005", "nan"), ": claims[C1].smallest_effect: nan does not fit; give a number above 0"),
    (CLAIM + "alpha = 0.5", ": claims[C1].alpha: 0.5 does not fit; give a number between 0 and 0.5"),
    (
        CLAIM.replace('"lower"', '"down"'),
        ': claims[C1].direction: \'down\' does not fit; give one of "lower", "higher", "not_higher"',
    ),
    (CLAIM + CLAIM, ": claims[C1].name: taken by another claim; give each its own"),
    (CLAIM.replace('name = "C1"\n', ""), ": claims[1].name: missing; add it"),
    (CLAIM.replace('estimand = "gap"\n', ""), ": claims[C1].estimand: missing; add it"),
    (CLAIM + "epochs = [1, 2]", ": claims[C1].epochs: belongs to an onset alone; drop it"),
    (CLAIM + "reference = 0.5", ": claims[C1].reference: a contrast is held against 0; drop it"),
    (LEVEL, ": claims[C1].reference: missing; add it"),
    (LEVEL.replace("smallest_rise = 0.005\n", ""), ": claims[C1].smallest_rise: missing; add it"),
    (
        LEVEL.replace('"lower"', '"not_higher"') + "reference = 0.5",
        ": claims[C1].direction: a level has a reference, not a margin; give lower or higher",
    ),
    (LEVEL + 'reference = 0.5\nby = "depth"', ': claims[C1].by: needs the contrast "regularised - plain"; drop it'),
    (
        "[settings]\nepochs = 12\n" + LEVEL + "reference = 0.5",
        ": claims[C1].epochs: ends too late: an onset shows 3 epochs later, and the last epoch is 12; "
        "end it at 9 or train longer",
    ),
    (
        "[settings]\nepochs = 2\n" + LEVEL + "reference = 0.5",
        ": claims[C1].epochs: ends too late: an onset shows 3 epochs later, and the last epoch is 2; train longer",
    ),
    (
        "[settings]\nepochs = 2\n" + CLAIM + 'at = "mean of last 3 epochs"\n',
        ': claims[C1].at: needs 3 epochs, and the last epoch is 2; train longer or use "last epoch"',
    ),
    (
        LEVEL.replace("[10, 15]", "[15, 10]") + "reference = 0.5",
        ": claims[C1].epochs: [15, 10] does not fit; give two epochs, as [10, 15]",
    ),
    (
        CLAIM + CLAIM.replace("C1", "C2") + "alpha = 0.01",
        ': claims[C2].alpha: family "claims" has another; give it one alpha',
    ),
    (CLAIM + ALL + 'all_of = ["C1", "C3"]', ': claims[all].all_of: "C3" is not a claim; choose from C1'),
    (
        CLAIM + ALL + 'all_of = ["C1"]\nfamily = "x"',
        ": claims[all].family: unknown key; choose one of name, statement, alpha, all_of",
    ),
    ("looks = [5]\n", ": looks: there are no claims to look at; drop it"),
    ("looks = [5, 4]\n" + CLAIM, ": looks: [5, 4] does not fit; give a list of different numbers of seeds, 5 or more"),
    (
        CLAIM + 'over = "seeds and images"',
        ": claims[C1].over: only a test loss or test error has images to cover; drop it",
    ),
    (
        "[settings]\nepochs = 18\n" + LEVEL + 'reference = 0.5\nat = "last epoch"',
        ": claims[C1].at: an onset is read off the whole curve; drop it",
    ),
    ("claims = 3", ": claims: 3 does not fit; give tables, as [[claims]]"),
    ("settings = 3", ": settings: 3 does not fit; give a table, as [settings]"),
]


@pytest.mark.parametrize(("text", "line"), [*BROKEN, *((HEAD + text, line) for text, line in ADDED)])
def test_a_broken_file_gets_one_line_with_key_and_remedy(tmp_path, text, line):
    assert read_error(tmp_path, text) == line


def test_an_unknown_variant_is_refused_in_the_tables_own_words(tmp_path):
    line = read_error(tmp_path, HEAD.replace('"conv2_3x3",', '"conv9_3x3",'))
    assert line == (
        ': variants: "conv9_3x3" is not a variant; did you mean conv7_3x3? choose one of ' + ", ".join(VARIANTS)
    )


def test_a_file_that_is_not_there_or_no_text_gets_one_line(tmp_path):
    with pytest.raises(ExperimentError, match=r"none\.toml: cannot be read \(No such file or directory\); give a TOML"):
        load_experiment(tmp_path / "none.toml")
    (tmp_path / "image.toml").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ExperimentError, match=r"image\.toml: cannot be read \(not UTF-8\); give a TOML file$"):
        load_experiment(tmp_path / "image.toml")


def test_the_hashes_see_content_alone(tmp_path):
    first = load_text(tmp_path, HEAD + CLAIM + CLAIM.replace("C1", "C2"))
    lines = CLAIM.splitlines()
    turned = "\n".join([lines[0], *reversed(lines[1:])]) + "  # a comment\nalpha = 0.05\n"
    other_head = 'name = "x"\nvariants = ["conv2_3x3_reg", "conv2_3x3"]\nseeds = [0]\n'
    second = load_text(tmp_path, other_head + CLAIM.replace("C1", "C2") + turned)
    assert hash_plan(first) == hash_plan(second)
    assert hash_claim(first.claims[0]) != hash_claim(first.claims[1])


def test_the_hash_of_a_claim_changes_with_any_word_or_number(tmp_path):
    changes = [
        CLAIM.replace("0.005", "0.006"),
        CLAIM.replace("shrinks", "shrinks a lot"),
        CLAIM.replace("lower", "higher"),
        CLAIM + "alpha = 0.01\n",
    ]
    plans = [hash_plan(load_text(tmp_path, HEAD + text)) for text in [CLAIM, *changes]]
    assert len({plan["C1"] for plan in plans}) == 5
    assert len({plan[""] for plan in plans}) == 1


def test_one_more_claim_does_not_touch_the_others(tmp_path):
    one = hash_plan(load_text(tmp_path, HEAD + CLAIM))
    two = hash_plan(load_text(tmp_path, HEAD + CLAIM + CLAIM.replace("C1", "C2")))
    assert one == {name: two[name] for name in ("", "C1")}
    assert list(two) == ["", "C1", "C2"]


@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace("[0]", "[0, 1]"),
        HEAD.replace(', "conv2_3x3_reg"', ""),
        HEAD + "[settings]\nepochs = 9\n",
        HEAD + '[settings]\nnormalization = "scale"\n',
    ],
)
def test_a_changed_plan_has_another_hash_and_the_same_claims(tmp_path, head):
    before, after = hash_plan(load_text(tmp_path, HEAD + CLAIM)), hash_plan(load_text(tmp_path, head + CLAIM))
    assert before[""] != after[""]
    assert before["C1"] == after["C1"]


@pytest.mark.parametrize("name", ["C1: gap", "a/b", "größer", "C1 ", ""])
def test_a_claims_name_can_stand_in_a_tag(tmp_path, name):
    line = read_error(tmp_path, HEAD + CLAIM.replace("C1", name))
    assert line == (
        f": claims[{name}].name: {name!r} does not fit; give words of letters, digits, dot, dash and underscore alone"
    )


def test_the_hash_is_stable_over_versions():
    claim = Claim(name="C1", statement="the gap shrinks", estimand="gap", direction="lower", smallest_effect=0.005)
    assert hash_claim(claim) == "1424ed90b30b7346aa789521052f53676e2ace7ff39d7632159b741e1d4bc4c4"
    experiment = Experiment(name="any", variants=("conv2_3x3",), seeds=(1, 0))
    assert hash_plan(experiment) == {"": "a2772309df7e57aacff728d17a8b159a4ba4add386a3ee50fdf0e071b4f5a4fe"}


DATA = HEAD + '[settings]\ndata = "{}"\n'


def test_data_are_found_from_the_files_own_folder_or_one_above(tmp_path, monkeypatch):
    (tmp_path / "studies").mkdir()
    (tmp_path / "elsewhere.npz").touch()
    (tmp_path / "studies" / "beside.npz").touch()
    (tmp_path / "studies" / "auto").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def find(data):
        return load_text(tmp_path / "studies", DATA.format(data)).settings.data

    assert find("beside.npz") == str(tmp_path / "studies" / "beside.npz")
    assert find("../elsewhere.npz") == str(tmp_path / "studies" / "../elsewhere.npz")
    assert find("elsewhere.npz") == str(tmp_path / "elsewhere.npz")
    assert find("nowhere.npz") == "nowhere.npz"
    assert find(str(tmp_path / "elsewhere.npz")) == str(tmp_path / "elsewhere.npz")
    assert find("~/mine.npz") == str(tmp_path / "home" / "mine.npz")
    assert find("~nobody-of-this-name/mine.npz") == "~nobody-of-this-name/mine.npz"
    assert [find(name) for name in ("auto", "fashion-mnist", "a" * 5000)] == ["auto", "fashion-mnist", "a" * 5000]


def test_a_frozen_plan_says_of_the_data_what_the_file_says(tmp_path):
    text = DATA.format("beside.npz")
    before = hash_plan(load_text(tmp_path, text))
    (tmp_path / "beside.npz").touch()
    assert hash_plan(load_text(tmp_path, text)) == before
    assert load_experiment(FOLDER / "smoke.toml").settings.data == "tests/mnist-subset.npz"


def test_data_are_found_from_the_folders_above_the_file_wherever_the_command_is_typed(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "elsewhere").mkdir()
    for folder in (tmp_path, tmp_path / "elsewhere"):
        (folder / "set.npz").touch()
    path = tmp_path / "experiments" / "mine.toml"
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_data(path, "set.npz") == str(tmp_path / "set.npz")
    monkeypatch.chdir(tmp_path)
    assert find_data(path, "set.npz") == "set.npz"
    (tmp_path / "experiments" / "set.npz").touch()
    assert find_data(path, "set.npz") == str(path.with_name("set.npz"))


@pytest.mark.parametrize("seeds", ["4-0", "0-999999999999", "0-9999999999", "-3", "1,,2", "0x1", "²"])
def test_ranges_that_name_no_seeds_are_refused(seeds):
    with pytest.raises(ExperimentError, match=r"names no seeds, or too many; write them as 0-4 or 0,2,7$"):
        parse_seeds(seeds)


def test_seeds_may_stand_apart():
    assert parse_seeds("0-2, 7") == {0, 1, 2, 7}
