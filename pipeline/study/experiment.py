"""An experiment: variants x seeds, the settings they share, and the claims to be judged; read from experiments/*.toml.

A file has `variants` and `seeds`, may have `name` (else the file's stem), `description`, a table [settings] and any
number of [[claims]]. It may bring variants of its own as [[variant]] tables (study.own); `variants` may then be left
out, and means all of these. What a claim may say:

| key | means |
| --- | --- |
| estimand | gap or test_loss (nats), test_error (fraction), onset (share of runs that begin to overfit in `epochs`) |
| contrast | "regularised - plain" over matched twins, or the level of one arm: "plain", "regularised" |
| by | depth or kernel: how much the contrast changes per convolution or per pixel of kernel width |
| direction | lower, higher, or not_higher: at most `smallest_effect` higher |
| smallest_effect | smallest effect of interest, in the estimand's unit; the margin where the direction is not_higher |
| reference | what a level is held against; a contrast is held against 0 |
| epochs, smallest_rise | of an onset: the window of epochs, and the rise of the test loss (nats) that is overfitting |
| alpha, family | level of the family-wise error; claims of one family share a Holm correction |
| all_of | names of claims that must all hold; stands instead of everything above except alpha |
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.errors import UnknownVariant
from pipeline.study.own import add_rows, list_own
from pipeline.study.schema import (
    Key,
    check_table,
    choice,
    label,
    number,
    read_toml,
    refuse,
    require_keys,
    several,
    tables,
    text,
    title,
    whole,
    window,
)
from pipeline.study.settings import JITS, LATER, NORMALIZATIONS, PRECISIONS, Settings
from pipeline.study.variants import VARIANTS, Variants, find_variant


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A declared statement about factors, with its margin; the module's table says what each field means."""

    name: str
    statement: str
    estimand: str = ""
    contrast: str = "regularised - plain"
    by: str = ""
    direction: str = ""
    smallest_effect: float = 0.0
    reference: float = 0.0
    epochs: tuple[int, int] | None = None
    smallest_rise: float = 0.0
    alpha: float = 0.05
    family: str = "claims"
    all_of: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One file of experiments/: which cells there are (variants x seeds), how each is trained, what is claimed.

    `table` has the rows that `variants` name: the study's, and behind them the file's own.
    """

    name: str
    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: Settings = field(default_factory=Settings)
    claims: tuple[Claim, ...] = ()
    description: str = ""
    table: Variants = field(default_factory=lambda: VARIANTS)

    def settings_for(self, seed: int) -> Settings:
        """The settings of the cells with this seed."""
        return replace(self.settings, seed=seed)


EXPERIMENT_KEYS: Mapping[str, Key] = {
    "name": title(),
    "description": text(),
    "variants": several(text(), "names of variants"),
    "seeds": several(whole(0, 2**31 - 1), "whole numbers from 0"),
    "settings": Key(says="a table, as [settings]", accepts=lambda value: isinstance(value, dict)),
    "claims": tables("claims"),
    "variant": tables("variant"),
}
SETTINGS_KEYS: Mapping[str, Key] = {
    "epochs": whole(1, 10_000),
    "batch_size": whole(1, 60_000),
    "subset": whole(0, 60_000),
    "normalization": choice(*NORMALIZATIONS),
    "data": text(),
    "threads": whole(1, 1024),
    "precision": choice(*PRECISIONS),
    "jit": choice(*JITS),
}
HEADLINE_KEYS: Mapping[str, Key] = {
    "name": label(),
    "statement": text(),
    "alpha": number(0, 0.5),
    "all_of": several(text(), "names of claims"),
}
CLAIM_KEYS: Mapping[str, Key] = {
    "name": label(),
    "statement": text(),
    "estimand": choice("gap", "test_loss", "test_error", "onset"),
    "contrast": choice("regularised - plain", "plain", "regularised"),
    "by": choice("depth", "kernel"),
    "direction": choice("lower", "higher", "not_higher"),
    "smallest_effect": number(0, math.inf),
    "reference": number(0, math.inf),
    "epochs": window(),
    "smallest_rise": number(0, math.inf),
    "alpha": number(0, 0.5),
    "family": text(),
    "all_of": HEADLINE_KEYS["all_of"],
}
PLAN = ""
"""The name, which no claim can have, of the variants, seeds and settings in hash_plan."""
FIGURES = ("smallest_effect", "reference", "smallest_rise", "alpha")


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
    settings = Settings(**table.get("settings", {}))
    return Experiment(
        name=table.get("name", path.stem),
        variants=tuple(table["variants"]),
        seeds=tuple(table["seeds"]),
        settings=settings,
        claims=_read_claims(path, table.get("claims", []), settings),
        description=table.get("description", ""),
        table=rows,
    )


def load_variants(path: str | Path) -> Variants:
    """The study's table with the [[variant]] tables of a file, which may be an experiment's; raises ExperimentError."""
    path = Path(path)
    table = read_toml(path)
    check_table(path, "", table, EXPERIMENT_KEYS)
    require_keys(path, "", table, ("variant",))
    return add_rows(path, table["variant"])


def open_experiment(experiment: str) -> Experiment | None:
    """The experiment of a file, where a word names one; None for the name of an MLflow experiment, or for none."""
    return load_experiment(experiment) if experiment.endswith(".toml") else None


def _read_claims(path: Path, rows: Sequence[dict[str, Any]], settings: Settings) -> tuple[Claim, ...]:
    claims: dict[str, Claim] = {}
    for order, row in enumerate(rows, start=1):
        require_keys(path, f"claims[{order}].", row, ("name",))
        place = f"claims[{row['name']}]."
        claim = _read_claim(path, place, row)
        if claim.name in claims:
            raise refuse(path, place + "name", "taken by another claim; give each its own")
        if claim.epochs and claim.epochs[1] > settings.epochs:
            raise refuse(path, place + "epochs", f"ends after the last epoch ({settings.epochs}); end it earlier")
        claims[claim.name] = claim
    _check_links(path, claims)
    return tuple(claims.values())


def _read_claim(path: Path, place: str, row: dict[str, Any]) -> Claim:
    headline = "all_of" in row
    check_table(path, place, row, HEADLINE_KEYS if headline else CLAIM_KEYS)
    require_keys(path, place, row, ("statement",))
    if not headline:
        require_keys(path, place, row, ("estimand", "direction", "smallest_effect"))
        _check_meaning(path, place, row)
    lists: dict[str, Any] = {key: tuple(row[key]) for key in ("epochs", "all_of") if key in row}
    figures: dict[str, Any] = {key: float(row[key]) for key in FIGURES if key in row}
    return Claim(**{**row, **lists, **figures})


def _check_meaning(path: Path, place: str, row: Mapping[str, Any]) -> None:
    """Refuse keys that are of the right form, but mean nothing together."""
    onset_keys = ("epochs", "smallest_rise")
    if row["estimand"] == "onset":
        require_keys(path, place, row, onset_keys)
    for key in onset_keys:
        if row["estimand"] != "onset" and key in row:
            raise refuse(path, place + key, "belongs to an onset alone; drop it")
    level = row.get("contrast", "regularised - plain") in ("plain", "regularised")
    if level and "by" in row:
        raise refuse(path, place + "by", 'needs the contrast "regularised - plain"; drop it')
    if level and row["direction"] == "not_higher":
        raise refuse(path, place + "direction", "a level has a reference, not a margin; give lower or higher")
    if level:
        require_keys(path, place, row, ("reference",))
    elif "reference" in row:
        raise refuse(path, place + "reference", "a contrast is held against 0; drop it")


def _check_links(path: Path, claims: Mapping[str, Claim]) -> None:
    """Refuse a headline over claims that are not there, and a family with more than one alpha."""
    parts = [name for name, claim in claims.items() if not claim.all_of]
    alphas: dict[str, float] = {}
    for name, claim in claims.items():
        for part in claim.all_of:
            if part not in parts:
                raise refuse(path, f"claims[{name}].all_of", f'"{part}" is no claim; choose from {", ".join(parts)}')
        if not claim.all_of and alphas.setdefault(claim.family, claim.alpha) != claim.alpha:
            raise refuse(path, f"claims[{name}].alpha", f'family "{claim.family}" has another; give it one alpha')


def hash_claim(claim: Claim) -> str:
    """sha256 (hex) of what a claim says; the order of keys, comments and 1 against 1.0 in its file do not change it."""
    return _hash(asdict(claim))


def hash_plan(experiment: Experiment) -> dict[str, str]:
    """hash_claim of each claim by its name, and under PLAN that of variants, seeds (in any order) and settings.

    Of the file's own variants the rows that it declares are in it, without their notes. Frozen when the first run
    starts; each claim has its own hash, so that one more does not touch the others.
    """
    plan: dict[str, Any] = {
        "variants": sorted(experiment.variants),
        "seeds": sorted(experiment.seeds),
        "settings": {name: value for name, value in asdict(experiment.settings).items() if LATER.get(name) != value},
    }
    if own := [row for row in list_own(experiment.table) if row.name in experiment.variants]:
        plan["rows"] = {row.name: asdict(replace(row, note="")) for row in own}
    return {PLAN: _hash(plan)} | {claim.name: hash_claim(claim) for claim in experiment.claims}


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
