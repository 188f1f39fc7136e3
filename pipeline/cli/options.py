"""Options that several commands share, one decorator a group."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from pipeline.study.settings import RULES, name_option

FILE = click.Path(dir_okay=False, path_type=Path)
SEEDS = click.option("--seeds", default="", help="Only these seeds, such as 0-4 or 0,2,7.")


class _Plain(click.ParamType[Any]):
    """A number as a store has it: `mlflow run` logs what was typed, and 03 or 1_0 would not be found as 3 or 10."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; fails for another way to write it."""
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value!r} is not a number.", param, ctx)
        if isinstance(value, str) and value != str(number):
            self.fail(f"{value!r} is not written as the store has it; write {number}.", param, ctx)
        return number


class Number(_Plain, click.IntRange):
    """A whole number in plain digits."""


class Decimal(_Plain, click.FloatRange):
    """A number with a point, in plain digits."""


VARIANTS_OPTION = click.option(
    "--variants", default="", metavar="FILE", help="TOML file with your own [[variant]] tables, or an experiment file."
)


def setting_option(name: str, **more: Any) -> Callable[..., Any]:
    """The option of a setting; `more` of what click knows wins over what the setting's rule says."""
    rule = RULES[name]
    kind: click.ParamType[Any]
    if isinstance(rule.default, str):
        kind = click.Choice(rule.choices) if rule.choices else click.STRING
    else:
        kind = Number(int(rule.low), int(rule.high)) if isinstance(rule.default, int) else Decimal(rule.low, rule.high)
    known = {"type": kind, "default": rule.default, "show_default": True, "help": rule.help}
    return click.option(f"--{name_option(name)}", **{**known, **more})


def add_options(options: Iterable[Callable[..., Any]]) -> Callable[..., Any]:
    """One decorator for several options, in their order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(list(options)):
            command = option(command)
        return command

    return decorate
