"""Arguments and options that several commands share; a wrong file, name or seed is refused before a heavy import."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from pipeline.errors import UnknownExperiment
from pipeline.study.experiment import choose_seeds, load_experiment, open_experiment
from pipeline.study.settings import RULES, name_option
from pipeline.study.variants import VARIANTS, find_variant

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


def check_experiment(experiment: str) -> None:
    """Raise ExperimentError for a file that is not an experiment's, UnknownExperiment for a name that is not stored."""
    if experiment and open_experiment(experiment) is None:
        from pipeline.tracking.quick import list_names

        names = list_names()
        if names is not None and experiment not in names:
            raise UnknownExperiment(experiment, names)


def name_experiment(experiment: str) -> str:
    """What MLflow calls an experiment, which is given by that name or by its file."""
    declared = open_experiment(experiment)
    return declared.name if declared else experiment


def check_variant(variant: str | None, experiment: str) -> None:
    """Raise UnknownVariant for a name that neither the study nor the experiment's file has."""
    if variant:
        declared = open_experiment(experiment)
        find_variant(variant, declared.table if declared else VARIANTS)


def _take_experiment(_ctx: click.Context, _param: click.Parameter, experiment: str) -> str:
    check_experiment(experiment)
    return experiment


def take_file(_ctx: click.Context, _param: click.Parameter, path: str) -> str:
    """The path of an experiment's file; raises ExperimentError for any other."""
    load_experiment(path)
    return path


def check_seeds(path: str, seeds: str) -> None:
    """Raise ExperimentError for seeds that the file does not declare."""
    if seeds:
        choose_seeds(load_experiment(path), seeds)


def experiment_argument(*, default: str | None = None) -> Callable[..., Any]:
    """The argument EXPERIMENT of a command that takes a file or a name."""
    return click.argument("experiment", callback=_take_experiment, required=default is None, default=default)


FILE_ARGUMENT = click.argument("experiment", callback=take_file)
