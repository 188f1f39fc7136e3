"""An experiment: variants x seeds, the settings they share, and the claims to be judged; read from experiments/*.toml.

A file has `variants` and `seeds`, may have `name` (else the file's stem), `description`, a table [settings] and any
number of [[claims]], and `looks`, the numbers of seeds at which the claims are judged. It may bring variants of its own
as [[variant]] tables (study.custom); `variants` may then be left out, and means all of these. study.claims says what a
claim may say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.errors import ExperimentError, UnknownVariant
from pipeline.images import AUTO, FASHION
from pipeline.private import expand_home, is_there
from pipeline.study.claims import FEWEST_SEEDS, Claim, hash_claim, hash_content, read_claims
from pipeline.study.custom import add_rows, list_own
from pipeline.study.fields import (
    TEXT,
    Key,
    check_table,
    choice,
    pattern,
    read_toml,
    refuse,
    require_keys,
    several,
    tables,
    whole,
)
from pipeline.study.settings import LATER, RULES, Rule, Settings, restore_values
from pipeline.study.variants import VARIANTS, Variants, find_variant

SEED_RANGE = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?", re.ASCII)
MOST_SEEDS = 100_000  # of one range


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One file of experiments/: which cells there are (variants x seeds), how each is trained, what is claimed.

    `looks` are the numbers of seeds, the first ones, at which the claims are judged; none: at whatever is there.
    `table` has the rows that `variants` name: the study's, and behind them the file's own. `declared_data` is what the
    file says of the data, where that has been found from its own folder.
    """

    name: str
    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: Settings = field(default_factory=Settings)
    claims: tuple[Claim, ...] = ()
    looks: tuple[int, ...] = ()
    description: str = ""
    table: Variants = field(default_factory=lambda: VARIANTS)
    declared_data: str = ""


def _read_rule(rule: Rule) -> Key:
    """What a file may say of a setting."""
    if isinstance(rule.default, str):
        return choice(*rule.choices) if rule.choices else TEXT
    return Key(says=rule.says, accepts=rule.accepts)


EXPERIMENT_KEYS: Mapping[str, Key] = {
    "name": pattern(r"[\w.-]+", "letters, digits, dot, dash and underscore alone"),
    "description": TEXT,
    "variants": several(TEXT, "names of variants"),
    "seeds": several(whole(0, 2**31 - 1), "whole numbers from 0"),
    "looks": several(whole(FEWEST_SEEDS, 2**31 - 1), f"numbers of seeds, {FEWEST_SEEDS} or more"),
    "settings": Key(says="a table, as [settings]", accepts=lambda value: isinstance(value, dict)),
    "claims": tables("claims"),
    "variant": tables("variant"),
}
SETTINGS_KEYS: Mapping[str, Key] = {name: _read_rule(rule) for name, rule in RULES.items() if rule.declared}
PLAN = ""
"""The name, which no claim can have, of the variants, seeds and settings in hash_plan."""


def load_experiment(path: str | Path) -> Experiment:
    """Read and check one experiment file.

    Raises:
        ExperimentError: one line with the file, the key and the remedy; for a file that is missing or no TOML as well.
    """
    path = Path(path)
    table = read_toml(path)
    check_table(path, "", table, EXPERIMENT_KEYS)
    rows = add_rows(path, table.get("variant", []))
    if own := list_own(rows):
        table = {"variants": [row.name for row in own], **table}
    require_keys(path, "", table, ("variants", "seeds"))
    for name in table["variants"]:
        try:
            find_variant(name, rows)
        except UnknownVariant as error:
            raise refuse(path, "variants", str(error)) from None
    check_table(path, "settings.", table.get("settings", {}), SETTINGS_KEYS)
    declared = restore_values(table.get("settings", {}))
    settings = replace(declared, data=find_data(path, declared.data))
    return Experiment(
        name=table.get("name", path.stem),
        variants=tuple(table["variants"]),
        seeds=tuple(table["seeds"]),
        settings=settings,
        claims=read_claims(path, table.get("claims", []), settings.epochs),
        looks=_read_looks(path, table),
        description=table.get("description", ""),
        table=rows,
        declared_data=declared.data,
    )


def find_data(path: Path, data: str) -> str:
    """What a file's `data` means: a known name, else a path from the file's folder or the nearest above that has it.

    It is the same wherever the command was typed; in the current folder it stays short.
    """
    if data in (AUTO, FASHION):
        return data
    place = expand_home(data)
    beside, above = path.parent / place, path.absolute().parent.parents  # an absolute path stays what it is
    found = next((each for each in (beside, *(folder / place for folder in above)) if is_there(each)), place)
    return str(place if found == Path.cwd() / place else found)


def _read_looks(path: Path, table: Mapping[str, Any]) -> tuple[int, ...]:
    """The looks, in ascending order and the last one at all seeds; else refused."""
    looks = table.get("looks", [])
    if looks and not table.get("claims"):
        raise refuse(path, "looks", "there are no claims to look at; drop it")
    if looks and (looks != sorted(looks) or looks[-1] != len(table["seeds"])):
        raise refuse(path, "looks", f"must rise, and end with all {len(table['seeds'])} seeds")
    return tuple(looks)


def load_variants(path: str | Path) -> Variants:
    """The study's table, with the [[variant]] tables, if any, of a file (an experiment's too) if one is named.

    Raises ExperimentError.
    """
    if not path:
        return VARIANTS
    path = Path(path)
    table = read_toml(path)
    check_table(path, "", table, EXPERIMENT_KEYS)
    if "variants" not in table:  # no experiment, which may do without
        require_keys(path, "", table, ("variant",))
    return add_rows(path, table["variant"]) if "variant" in table else VARIANTS


def open_experiment(experiment: str) -> Experiment | None:
    """The experiment of a file, where a word names one; None for the name of an MLflow experiment, or for none."""
    return load_experiment(experiment) if experiment.endswith(".toml") else None


def choose_seeds(experiment: Experiment, seeds: str) -> Experiment:
    """The experiment with the seeds "0-4" or "0,2,7" alone; raises ExperimentError for seeds it does not declare."""
    chosen = parse_seeds(seeds)
    unknown = sorted(chosen - set(experiment.seeds))
    if unknown:
        raise ExperimentError(f"seeds {unknown} are not declared in {experiment.name}; it has {list(experiment.seeds)}")
    return replace(experiment, seeds=tuple(seed for seed in experiment.seeds if seed in chosen))


def parse_seeds(seeds: str) -> set[int]:
    """The numbers in "0-4" or "0,2,7"; raises ExperimentError."""
    parts = [SEED_RANGE.fullmatch(part.strip()) for part in seeds.split(",")]
    ranges = [(int(part[1]), int(part[2] or part[1])) for part in parts if part]
    if len(ranges) < len(parts) or not all(first <= last < first + MOST_SEEDS for first, last in ranges):
        raise ExperimentError(f'"{seeds}" names no seeds, or too many; write them as 0-4 or 0,2,7')
    return {seed for first, last in ranges for seed in range(first, last + 1)}


def hash_plan(experiment: Experiment) -> dict[str, str]:
    """hash_claim of each claim by its name, and under PLAN that of variants, seeds (in any order) and settings.

    Of the file's own variants the rows that it declares are in it, without their notes. Frozen when the first run
    starts; each claim has its own hash, so that one more does not touch the others.
    """
    settings = replace(experiment.settings, data=experiment.declared_data or experiment.settings.data)
    plan: dict[str, Any] = {
        "variants": sorted(experiment.variants),
        "seeds": sorted(experiment.seeds),
        "settings": dict(asdict(settings).items() - LATER.items()),
    }
    if experiment.looks:
        plan["looks"] = list(experiment.looks)
        plan["seeds"] = list(experiment.seeds)  # their order decides which are looked at first
    if own := [row for row in list_own(experiment.table) if row.name in experiment.variants]:
        plan["rows"] = {row.name: asdict(replace(row, note="")) for row in own}
    return {PLAN: hash_content(plan)} | {claim.name: hash_claim(claim) for claim in experiment.claims}
