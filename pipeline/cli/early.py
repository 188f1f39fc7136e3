"""What is refused before anything heavy is imported: a wrong file, name or seed is answered at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from pipeline.errors import UnknownExperiment
from pipeline.study.experiment import choose_seeds, load_experiment, open_experiment
from pipeline.study.variants import VARIANTS, find_variant

Command = TypeVar("Command", bound=Callable[..., Any])


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


def experiment_argument(*, default: str | None = None) -> Callable[[Command], Command]:
    """The argument EXPERIMENT of a command that takes a file or a name."""
    return click.argument("experiment", callback=_take_experiment, required=default is None, default=default)


FILE_ARGUMENT = click.argument("experiment", callback=take_file)
