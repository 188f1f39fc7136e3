"""Each command with its whole output and exit code."""

from __future__ import annotations

import pytest

from pipeline.cli.main import main
from tests.conftest import ROOT, SUBSET, call, run_python, succeed


def test_variants_prints_one_line_a_variant() -> None:
    result = call("variants")
    lines = result.output.splitlines()
    assert result.exit_code == 0
    assert len(lines) == 20
    assert lines[0].split() == [
        *("variant", "called", "counted", "kernel", "features", "head", "regularised", "parameters", "note")
    ]
    assert lines[8] == (
        "conv3_5x5_reg               3        5  5x5     32 M D 64 M D 32 M D 32 M D 32 M D      128 B D 64 B D  yes"
        "             168,490  called 3 convs, its code builds 5, the 4th pooling unpadded; no twin"
    )


def test_light_commands_import_no_heavy_library() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from pipeline.cli.main import main\n"
        "for words in (['--help'], ['variants'], ['train', '--help']):\n"
        "    assert CliRunner().invoke(main, words).exit_code == 0\n"
        "print(sorted({'tensorflow', 'keras', 'mlflow', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    assert run_python(ROOT, "-c", code).stdout == "[]\n"


@pytest.mark.parametrize("name", [*sorted(main.commands), "bundle export", "bundle import"])
def test_every_command_has_help_with_an_example(name: str) -> None:
    lines = succeed(*name.split(), "--help").output.splitlines()[1:]
    assert any(line.startswith(f"  python -m pipeline {name}") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        *(
            (
                ["train", f"--{name}={value}"],
                2,
                f"Error: Invalid value for '--{name}': {complaint}. (see python -m pipeline train --help)",
            )
            for name, value, complaint in (
                ("epochs", "0", "0 is not in the range 1<=x<=10000"),
                ("epochs", "abc", "'abc' is not a valid integer range"),
                ("seed", "-1", "-1 is not in the range 0<=x<=2147483647"),
                ("precision", "half", "'half' is not one of 'float32', 'mixed_float16', 'mixed_bfloat16'"),
                ("normalization", "max", "'max' is not one of 'l2', 'scale'"),
            )
        ),
        (["nonsense"], 2, "Error: No such command 'nonsense'. (see python -m pipeline --help)"),
        *(
            ([*words, "--data", "nowhere"], 1, "Error: nowhere does not exist; name an .npz or CSV file, or a folder")
            for words in (["data"], ["train", "--arch=conv2_3x3"])
        ),
    ],
)
def test_bad_input_is_one_line_and_no_traceback(arguments: list[str], code: int, line: str) -> None:
    result = call(*arguments)
    assert (result.output, result.exit_code) == (f"{line}\n", code)


def test_data_says_what_it_found() -> None:
    result = succeed("data", "--data", str(SUBSET))
    assert result.output == (
        "data-bd5aa66b41f2: 2,000 training and 500 test images\n"
        f"from {SUBSET}, sha256 bd5aa66b41f222125626148248f07ff82039b710219eb1e6f00e83fa42a3ba6d\n"
        "images: 28x28, grey, 0 to 255, ink light\n"
        "classes: 10\n"
        "training images by class: 0 197, 1 225, 2 199, 3 204, 4 195, 5 181, 6 197, 7 209, 8 195, 9 198\n"
        "test images by class: 0 49, 1 57, 2 52, 3 50, 4 49, 5 45, 6 48, 7 51, 8 49, 9 50\n"
    )


def test_a_training_prints_one_line_an_epoch(trained: tuple[str, str]) -> None:
    lines = trained[1].splitlines()
    assert lines[0] == f"conv2_3x3_reg, seed 0, 2 epochs; run {trained[0]}"
    assert lines[1] == "data data-bd5aa66b41f2: (2000, 28, 28, 1) training, (500, 28, 28, 1) test"
    assert [line[:10] for line in lines[2:4]] == ["epoch 1/2 ", "epoch 2/2 "]
    assert len(lines[4]) == len("weights sha256 ") + 64
    assert lines[5].startswith("test accuracy ")
    assert lines[6:] == ["See it in the browser: python -m pipeline ui"]
