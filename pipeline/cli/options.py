"""Options that several commands share, one decorator a group."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from pipeline.study.settings import JITS, NORMALIZATIONS, PRECISIONS, Settings
from pipeline.study.variants import TABLE

DEFAULT = Settings()
SEED_LIMIT = 2**31 - 1


class Number(click.IntRange):
    """A whole number in plain digits: `mlflow run` logs what was typed, and 03 or 1_0 would not be found as 3 or 10."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; fails for another way to write it."""
        number = super().convert(value, param, ctx)
        if isinstance(value, str) and value != str(number):
            self.fail(f"{value!r} is not written in plain digits; write {number}.", param, ctx)
        return number


VARIANTS_OPTION = click.option(
    "--variants", default="", metavar="FILE", help="TOML file with [[variant]] tables of your own, or an experiment's."
)
RUN_OPTIONS = (
    click.option("--arch", default=TABLE[0].name, show_default=True, help="Variant to train; see `variants`."),
    VARIANTS_OPTION,
    click.option("--epochs", type=Number(1, 10_000), default=DEFAULT.epochs, show_default=True),
    click.option("--batch-size", type=Number(1, 60_000), default=DEFAULT.batch_size, show_default=True),
    click.option("--seed", type=Number(0, SEED_LIMIT), default=DEFAULT.seed, show_default=True),
    click.option(
        "--subset",
        type=Number(0, 60_000),
        default=DEFAULT.subset,
        show_default=True,
        help="Training images to keep, stratified, with a sixth as many test images; 0 keeps all.",
    ),
    click.option(
        "--normalization", type=click.Choice(NORMALIZATIONS), default=DEFAULT.normalization, show_default=True
    ),
    click.option(
        "--data",
        default=DEFAULT.data,
        show_default=True,
        help='"auto" for MNIST, "fashion-mnist", or an .npz file, or a folder with the four IDX files.',
    ),
    click.option(
        "--threads",
        type=Number(1, 256),
        default=DEFAULT.threads,
        show_default=True,
        help="Threads within one operation; the weights' bits depend on it.",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default=DEFAULT.precision,
        show_default=True,
        help="Of the layers' products; a mixed one is meant for a GPU.",
    ),
    click.option(
        "--jit",
        type=click.Choice(JITS),
        default=DEFAULT.jit,
        show_default=True,
        help="Whether XLA compiles the training step; meant for a GPU.",
    ),
)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of one training, handed over as `arch` and `settings`, the file of variants and the command's own."""

    @functools.wraps(command)
    def call(arch: str, **values: Any) -> Any:
        settings = Settings(**{field.name: values.pop(field.name) for field in fields(Settings)})
        return command(arch, settings, **values)

    for option in reversed(RUN_OPTIONS):
        call = option(call)
    return call
