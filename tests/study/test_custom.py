from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import ExperimentError
from pipeline.study.custom import list_own
from pipeline.study.experiment import PLAN, hash_plan, load_experiment, load_variants
from pipeline.study.facts import describe_variant, restore_row
from pipeline.study.layers import count_parameters
from pipeline.study.variants import TABLE, VARIANTS, Variant, find_variant, matched_twins

PLAIN = """[[variant]]
name = "tiny"
kernel = 3
features = "8 M 16 M"
head = "32"
twin = "tiny_reg"
"""
REGULARISED = """[[variant]]
name = "tiny_reg"
kernel = 3
features = "8 M D 16 M D"
head = "32 B D"
regularised = true
twin = "tiny"
"""
STUDY = f"seeds = [0, 1]\n{PLAIN}{REGULARISED}"


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refuse(folder: Path, text: str) -> str:
    path = write(folder, text)
    with pytest.raises(ExperimentError) as caught:
        load_variants(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_own_rows_stand_behind_the_studys_table(tmp_path: Path) -> None:
    variants = load_variants(write(tmp_path, PLAIN + REGULARISED))
    assert list(variants) == [*VARIANTS, "tiny", "tiny_reg"]
    tiny, regularised = list_own(variants)
    assert tiny == Variant(
        name="tiny", depth_called=2, kernel=3, features="8 M 16 M", head="32", twin="tiny_reg", published=False
    )
    assert count_parameters(tiny)[0] == 80 + 1168 + 400 * 32 + 32 + 33 * 10
    assert matched_twins(variants, variants)[-1] == (tiny, regularised)
    assert list(VARIANTS) == [row.name for row in TABLE]


def test_one_file_is_a_whole_study(tmp_path: Path) -> None:
    experiment = load_experiment(write(tmp_path, STUDY))
    assert experiment.variants == ("tiny", "tiny_reg")
    assert list_own(experiment.table) == list_own(load_variants(tmp_path / "mine.toml"))
    mixed = load_experiment(write(tmp_path, 'variants = ["conv2_3x3", "tiny"]\n' + STUDY))
    assert mixed.variants == ("conv2_3x3", "tiny")


@pytest.mark.parametrize("text", ["seeds = [0]\n", "seeds = [0]\nvariant = []\n"])
def test_without_own_rows_the_variants_must_be_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ExperimentError, match="variants: missing; add it"):
        load_experiment(write(tmp_path, text))


def test_an_experiment_without_own_rows_has_the_studys(tmp_path: Path) -> None:
    assert load_variants(write(tmp_path, 'seeds = [0]\nvariants = ["conv2_3x3"]\n')) == VARIANTS


SAME, NAMED = 'pool_padding = "same"', 'name = "tiny"'
BAD = {
    "no tables": ("", "variant: missing; add it"),
    "no list": ('variant = "tiny"', "variant: 'tiny' does not fit; give tables, as [[variant]]"),
    "unknown key": (PLAIN + "dropout = 0.5\n", "variant[tiny].dropout: unknown key; choose one of name, kernel,"),
    "a key of an experiment": ("epoch = 3\n" + PLAIN, "epoch: unknown key; choose one of name, description,"),
    "no name": (PLAIN.replace(NAMED, ""), "variant[1].name: missing; add it"),
    "no head": (PLAIN.replace('head = "32"', ""), "variant[tiny].head: missing; add it"),
    "a nasty name": (PLAIN.replace(NAMED, 'name = "-h"'), "variant[-h].name: '-h' does not fit; give a letter, then"),
    "the study's name": (
        PLAIN.replace(NAMED, 'name = "conv2_3x3"'),
        "variant[conv2_3x3].name: the study has a variant of that name; give another",
    ),
    "a name twice": (PLAIN + PLAIN, "variant[tiny].name: taken by another table; give each its own"),
    "an unknown layer": (
        PLAIN.replace("8 M 16 M", "8 M 16 P"),
        "variant[tiny].features: '8 M 16 P' does not fit; give widths of convolutions, M and D, as \"8 M D 16 M D\"",
    ),
    "a layer of no width": (PLAIN.replace("8 M 16 M", "0 M"), "variant[tiny].features: '0 M' does not fit; give"),
    "a pooling in the head": (PLAIN.replace('"32"', '"32 M"'), "variant[tiny].head: '32 M' does not fit; give widths"),
    "no convolution": (PLAIN.replace("8 M 16 M", "M M"), "variant[tiny].features: has no convolution; give at least"),
    "paddings for other poolings": (
        PLAIN + SAME.replace("same", "same same same") + "\n",
        "variant[tiny].pool_padding: has 3 words; give 1, or 2: one for each M",
    ),
    "no kernel": (PLAIN.replace("kernel = 3", "kernel = 0"), "variant[tiny].kernel: 0 does not fit; give a whole"),
    "a kernel that is too large": (
        PLAIN.replace("kernel = 3", "kernel = 130"),
        "variant[tiny].features: conv2 leaves -66x-66 of a 256x256 image; take a smaller kernel or fewer layers, or",
    ),
    "too many poolings": (
        PLAIN.replace("8 M 16 M", "8 M M M M M M M M M"),
        "variant[tiny].features: pool8 leaves 0x0 of a 256x256 image",
    ),
    "no such twin": (PLAIN, 'variant[tiny].twin: "tiny_reg" is no [[variant]] of this file; add it, or drop the key'),
    "the study's twin": (PLAIN.replace("tiny_reg", "conv2_3x3"), 'variant[tiny].twin: "conv2_3x3" is no [[variant]]'),
    "a twin that is not mutual": (
        PLAIN + REGULARISED.replace('twin = "tiny"', ""),
        'variant[tiny].twin: "tiny_reg" does not name it back; give it twin = "tiny"',
    ),
    "itself": (PLAIN.replace("tiny_reg", "tiny"), "variant[tiny].twin: one of the two must be regularised and the"),
    "two plain twins": (
        PLAIN + REGULARISED.replace("regularised = true", ""),
        "variant[tiny].twin: one of the two must be regularised and the other not; set regularised",
    ),
    "a twin of other widths and kernel": (
        PLAIN + REGULARISED.replace("kernel = 3", "kernel = 5").replace("16 M D", "24 M D"),
        'variant[tiny].twin: "tiny_reg" has another kernel and features; twins may differ in L2, D and B alone',
    ),
    "a plain twin with dropout": (
        PLAIN.replace("8 M 16", "8 M D 16") + REGULARISED,
        'variant[tiny].twin: the plain twin "tiny" has D or B; take them out of it',
    ),
}


@pytest.mark.parametrize(("text", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_table_is_one_line_with_its_remedy(tmp_path: Path, text: str, reason: str) -> None:
    assert refuse(tmp_path, text).startswith(reason)


def test_an_unknown_name_is_told_the_own_ones_too(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError) as caught:
        load_experiment(write(tmp_path, 'variants = ["tiny_regg"]\n' + STUDY))
    assert '"tiny_regg" is not a variant; did you mean tiny_reg? choose one of conv2_3x3,' in str(caught.value)
    assert str(caught.value).endswith(", tiny, tiny_reg")


def test_the_plan_knows_the_rows_that_it_declares(tmp_path: Path) -> None:
    def plan(text: str) -> str:
        return hash_plan(load_experiment(write(tmp_path, text)))[PLAN]

    first = plan(STUDY)
    assert plan(STUDY + 'note = "a word more"\n') == first
    assert plan(STUDY.replace('head = "32', 'head = "48')) != first
    assert plan(STUDY.replace("twin =", "# twin =")) != first
    declared = 'variants = ["tiny", "tiny_reg"]\n' + STUDY
    other = PLAIN.replace('"tiny"', '"other"').replace("twin =", "# twin =")
    assert plan(declared + other) == plan(declared) == first


def test_a_plan_without_own_rows_has_the_hash_that_stores_hold(tmp_path: Path) -> None:
    text = 'variants = ["conv2_3x3"]\nseeds = [0]\n'
    known = {PLAN: "38110147088973dd1ae458260a3a980fe53cf494f8c342abd394da27ca324c5b"}
    assert hash_plan(load_experiment(write(tmp_path, text))) == known
    undeclared = PLAIN.replace("twin", "# twin")
    assert hash_plan(load_experiment(write(tmp_path, text + undeclared))) == known


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_run_says_enough_to_build_its_row_again(row: Variant) -> None:
    own = replace(row, name="own", published=False, twin=None, note="")
    facts = json.loads(json.dumps(describe_variant(own)))
    assert restore_row(facts) == own
    assert restore_row({name: str(value) for name, value in facts.items()}) == own  # as a run's params
    assert restore_row({**facts, "arch": row.name}) == find_variant(row.name)


@pytest.mark.parametrize("change", [{"kernel": "x"}, {"features": "M"}, {"arch": "a b"}])
def test_a_run_that_says_nonsense_builds_nothing(change: dict[str, str]) -> None:
    facts = {**describe_variant(replace(TABLE[0], name="own")), **change}
    if "arch" in change:
        assert restore_row(facts).name == "a b"
        return
    with pytest.raises(ValueError, match=r"invalid literal|has no convolution"):
        restore_row(facts)
    with pytest.raises(KeyError):
        restore_row({"arch": "own"})
