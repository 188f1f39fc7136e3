"""The settings of one training: everything besides the variant that can change its result, one row each.

From these rows derive the options of the command line, the keys of an experiment's file, the params of a run, the
columns that are read back, what runs must share to be compared, and the tables of the docs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from pipeline.errors import ExperimentError

Value = int | float | str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a setting may be, and where it counts.

    A number lies in `low` to `high`, both allowed, and is whole where the default is; a word is one of `choices`, or
    free where there are none.
    `declared` says whether an experiment's file may say it, `compared` whether runs that differ in it can stand in one
    table, `later` whether runs of earlier versions do not know it: they had its default.
    """

    default: Value
    help: str
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()
    declared: bool = True
    compared: bool = True
    later: bool = False

    @property
    def kind(self) -> Callable[[Any], Value]:
        """int, float or str: makes the value of what a store or a file says."""
        return type(self.default)

    @property
    def says(self) -> str:
        """What the setting may be, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        what = {int: "a whole number", float: "a number"}.get(type(self.default))
        return f"{what} from {self.low} to {self.high}" if what else "one line of text"

    def accepts(self, value: Any) -> bool:
        """Whether the setting may be this; for a number also a whole one."""
        if isinstance(self.default, str):
            return value in self.choices if self.choices else isinstance(value, str)
        return type(value) in (int, type(self.default)) and bool(self.low <= value <= self.high)


def setting(default: Any, help: str, **more: Any) -> Any:
    """A row of Settings; `more` as Rule has it."""
    return field(default=default, metadata={"rule": Rule(default=default, help=help, **more)})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The study's protocol where nothing else is said."""

    epochs: int = setting(25, "Passes over the training images.", low=1, high=10_000)
    batch_size: int = setting(128, "Training images per step.", low=1, high=60_000)
    seed: int = setting(
        0,
        "Sets the initial weights, the order of images and dropout.",
        high=2**31 - 1,
        declared=False,  # a file has a list of seeds
        compared=False,
    )
    subset: int = setting(
        0, "Train on this many images, stratified, with a sixth as many test images; 0 uses all.", high=60_000
    )
    normalization: str = setting(
        "l2", "Divide each image's columns by their L2 norm, or all pixels by 255.", choices=("l2", "scale")
    )
    data: str = setting(
        "auto",
        '"auto" for MNIST, "fashion-mnist", or a file or folder of labelled images.',
        compared=False,  # data are compared by their content
    )
    threads: int = setting(
        2, "Threads within one operation; the exact weights depend on it.", low=1, high=256, compared=False
    )
    precision: str = setting(
        "float32",
        "Compute precision; mixed precision is for GPUs.",
        choices=("float32", "mixed_float16", "mixed_bfloat16"),
        later=True,
    )
    jit: str = setting("off", "Compile the training step with XLA; for GPUs.", choices=("off", "on"), later=True)

    @property
    def arithmetic(self) -> str:
        """How a network is computed, as `mixed_float16, compiled by XLA`, with other later settings that were set."""
        compiled = ["compiled by XLA"] if self.jit == "on" else []
        others = {name: getattr(self, name) for name in LATER if name not in ("precision", "jit")}
        set_ones = [f"{name_option(name)} {value}" for name, value in others.items() if value != LATER[name]]
        return ", ".join([self.precision, *compiled, *set_ones])


RULES: Mapping[str, Rule] = MappingProxyType({each.name: each.metadata["rule"] for each in fields(Settings)})
"""Every setting's rule by its name, in order."""
COMPARED = tuple(name for name, rule in RULES.items() if rule.compared)
LATER: Mapping[str, Value] = MappingProxyType({name: rule.default for name, rule in RULES.items() if rule.later})
"""Settings that runs and plans of earlier versions do not know, with what those had."""


def make_settings(**values: Any) -> Settings:
    """Settings from values that a person gave; raises ExperimentError for one that is unknown or not allowed."""
    for name, value in values.items():
        if name not in RULES:
            raise ExperimentError(f'"{name}" is not a setting; choose one of {", ".join(RULES)}')
        rule = RULES[name]
        if not rule.accepts(value):
            verb = "choose" if rule.choices else "give"
            raise ExperimentError(f"{name} {value!r} is not allowed; {verb} {rule.says}")
    return restore_values(values)


def restore_values(values: Mapping[str, Any]) -> Settings:
    """Settings from allowed values, or their texts, each of the type that its rule has: 1 is 1.0 for a number."""
    typed: dict[str, Any] = {name: RULES[name].kind(value) for name, value in values.items()}
    return Settings(**typed)


def name_option(name: str) -> str:
    """A setting as the command line, MLproject and MLflow's params call it: batch_size is batch-size."""
    return name.replace("_", "-")
