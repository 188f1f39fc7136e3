from __future__ import annotations

import csv
from dataclasses import replace
from importlib import resources

import pytest

from pipeline.errors import ExperimentError, UnknownVariant
from pipeline.images import Images
from pipeline.study.layers import check_fit, count_parameters, plan_layers
from pipeline.study.variants import TABLE, VARIANTS, Variant, find_variant, matched_twins, published_variants

# Output shapes in order; a layer that keeps its input's shape (dropout, batch norm) is its letter alone.
SHAPES = {
    "conv2_3x3": "26x26x32 M13x13x32 11x11x64 M5x5x64 1600 128 64 10",
    "conv2_5x5": "24x24x32 M12x12x32 8x8x64 M4x4x64 1024 128 64 10",
    "conv2_3x3_reg": "26x26x32 M13x13x32 D 11x11x64 M5x5x64 D 1600 128 B D 64 B D 10",
    "conv2_5x5_reg": "24x24x32 M12x12x32 D 8x8x64 M4x4x64 D 1024 128 B D 64 B D 10",
    "conv3_3x3": "26x26x32 M13x13x32 11x11x64 M5x5x64 3x3x32 M1x1x32 32 128 64 10",
    "conv3_5x5": "28x28x32 M14x14x32 14x14x64 M7x7x64 7x7x32 M3x3x32 288 128 64 10",
    "conv3_3x3_reg": "26x26x32 M13x13x32 D 11x11x64 M5x5x64 D 3x3x32 M1x1x32 D 32 128 B D 64 B D 10",
    "conv3_5x5_reg": (
        "28x28x32 M14x14x32 D 14x14x64 M7x7x64 D 7x7x32 M4x4x32 D 4x4x32 M2x2x32 D 2x2x32 M1x1x32 D "
        "32 128 B D 64 B D 10"
    ),
    "conv5_3x3": (
        "28x28x32 M14x14x32 14x14x64 M7x7x64 7x7x64 M4x4x64 4x4x64 M2x2x64 2x2x32 M1x1x32 32 128 B D 64 B D 10"
    ),
    "conv5_3x3_reg": (
        "28x28x32 M14x14x32 D 14x14x64 M7x7x64 D 7x7x64 M4x4x64 D 4x4x64 M2x2x64 D 2x2x32 M1x1x32 D "
        "32 128 B D 64 B D 10"
    ),
    "conv7_3x3": (
        "28x28x32 D 28x28x64 D 28x28x64 M14x14x64 D 14x14x64 D 14x14x64 D 14x14x32 D M7x7x32 7x7x32 D "
        "1568 128 B D 64 B D 10"
    ),
    "conv3_5x5_reg_matched": "28x28x32 M14x14x32 D 14x14x64 M7x7x64 D 7x7x32 M3x3x32 D 288 128 B D 64 B D 10",
    "conv5_3x3_plain": (
        "28x28x32 M14x14x32 14x14x64 M7x7x64 7x7x64 M4x4x64 4x4x64 M2x2x64 2x2x32 M1x1x32 32 128 64 10"
    ),
    "conv7_3x3_plain": "28x28x32 28x28x64 28x28x64 M14x14x64 14x14x64 14x14x64 14x14x32 M7x7x32 7x7x32 1568 128 64 10",
}
SAME_SHAPES = {  # with 'same' padding the kernel does not change a shape
    "conv5_5x5": "conv5_3x3",
    "conv5_5x5_reg": "conv5_3x3_reg",
    "conv7_5x5": "conv7_3x3",
    "conv5_5x5_plain": "conv5_3x3_plain",
    "conv7_5x5_plain": "conv7_3x3_plain",
}


def describe_shapes(variant: Variant) -> str:
    letters = {"dropout": "D", "batch_norm": "B"}
    words = []
    for layer in plan_layers(variant):
        shape = "x".join(map(str, layer.shape))
        words.append(letters.get(layer.kind) or ("M" if layer.kind == "pool" else "") + shape)
    return " ".join(words)


@pytest.mark.parametrize("variant", TABLE, ids=lambda variant: variant.name)
def test_layers_and_shapes_are_the_studys(variant: Variant) -> None:
    assert describe_shapes(variant) == SHAPES[SAME_SHAPES.get(variant.name, variant.name)]


def test_parameters_are_the_published_ones() -> None:
    with (resources.files("pipeline.study") / "published.csv").open() as stream:
        published = {
            row["variant"]: (int(row["total_params"]), int(row["trainable_params"])) for row in csv.DictReader(stream)
        }
    assert {variant.name: count_parameters(variant) for variant in published_variants()} == published
    assert [variant.name for variant in published_variants()] == list(published)


def test_there_are_five_controls_and_nineteen_names() -> None:
    controls = [variant.name for variant in TABLE if not variant.published]
    assert controls == [
        "conv3_5x5_reg_matched",
        "conv5_3x3_plain",
        "conv5_5x5_plain",
        "conv7_3x3_plain",
        "conv7_5x5_plain",
    ]
    assert len(VARIANTS) == len(TABLE) == 19


def test_twins_cover_every_depth_and_kernel_and_differ_in_the_regularisation_alone() -> None:
    twins = matched_twins(VARIANTS, VARIANTS)
    assert [(plain.depth_counted, plain.kernel) for plain, _ in twins] == [
        (depth, kernel) for depth in (2, 3, 5, 7) for kernel in (3, 5)
    ]
    for plain, regularised in twins:
        assert not plain.dropout
        assert not plain.batch_norm
        stripped = replace(
            regularised,
            features=" ".join(regularised.features.replace("D", "").split()),
            head="128 64",
            regularised=False,
            **{name: getattr(plain, name) for name in ("name", "twin", "published", "note")},
        )
        assert stripped == plain
        assert (plain.twin, regularised.twin) == (regularised.name, plain.name)


def test_what_the_study_calls_a_depth_and_what_it_builds() -> None:
    differing = [variant.name for variant in TABLE if variant.depth_called != variant.depth_counted]
    assert differing == ["conv3_5x5_reg"]
    noted = [variant.name for variant in TABLE if variant.note]
    assert noted == ["conv3_5x5_reg", "conv5_3x3", "conv5_5x5"]


def test_an_unknown_variant_is_told_what_to_choose() -> None:
    with pytest.raises(UnknownVariant) as caught:
        find_variant("conv9_3x3")
    message = str(caught.value)
    assert message.startswith('"conv9_3x3" is not a variant; did you mean conv7_3x3? choose one of conv2_3x3, conv2_')
    assert "\n" not in message


SMALL = Images(height=8, width=20, classes=("a", "b"))


@pytest.mark.parametrize(
    ("name", "misfit"),
    [
        ("conv2_3x3", "conv2_3x3: pool2 leaves 0x3 of a 8x20 image"),
        ("conv2_5x5", "conv2_5x5: conv2 leaves -2x4 of a 8x20 image"),
        ("conv3_3x3", "conv3_3x3: pool2 leaves 0x3 of a 8x20 image"),
        ("conv5_3x3", ""),
    ],
)
def test_a_layer_that_leaves_nothing_of_an_image_is_named(name: str, misfit: str) -> None:
    if not misfit:
        check_fit(find_variant(name), SMALL)
        return
    with pytest.raises(ExperimentError) as caught:
        check_fit(find_variant(name), SMALL)
    assert str(caught.value) == f"{misfit}; take a smaller kernel or fewer layers, or pad with same"


def test_a_network_takes_the_images_and_names_their_classes() -> None:
    images = Images(height=30, width=44, channels=3, classes=tuple("abcd"))
    first, *_, output = layers = plan_layers(find_variant("conv2_3x3"), images)
    assert (first.shape, first.parameters) == ((28, 42, 32), (9 * 3 + 1) * 32)
    assert (output.shape, output.parameters) == ((4,), 65 * 4)
    assert count_parameters(find_variant("conv2_3x3"), images)[0] == sum(layer.parameters for layer in layers)
