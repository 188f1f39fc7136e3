"""A declared claim: a statement about factors with its margin, read from the [[claims]] of an experiment's file.

| key | means |
| --- | --- |
| estimand | gap or test_loss (nats), test_error (fraction), onset (share of runs that begin to overfit in `epochs`) |
| contrast | "regularised - plain" over matched twins, or the level of one arm: "plain", "regularised" |
| by | depth or kernel: how much the contrast changes per convolution or per pixel of kernel width |
| direction | lower, higher, or not_higher: at most `smallest_effect` higher |
| smallest_effect | smallest effect of interest, nats or a share (0.01 is 1 point); the margin of not_higher |
| reference | what a level is held against; a contrast is held against 0 |
| epochs, smallest_rise | of an onset: the window of epochs, and the rise of the test loss (nats) that is overfitting |
| at | where a gap, loss or error is read: "last epoch" or "mean of last 3 epochs" |
| over | what the interval of a test loss or error covers: "seeds", or "seeds and images" (other test images too) |
| alpha, family | level of the family-wise error; claims of one family share a Holm correction |
| all_of | names of claims that must all hold; stands instead of everything above except alpha |
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from pipeline.study.fields import TEXT, Key, check_table, choice, pattern, positive, refuse, require_keys, several

Standing = Literal["", "late", "never"]
"""When the claims of an experiment were frozen: before the first run (""), after it, or never."""


WINDOW = Key(
    says="two epochs, as [10, 15]",
    accepts=lambda value: (
        isinstance(value, list)
        and len(value) == 2
        and all(type(epoch) is int for epoch in value)
        and 1 <= value[0] <= value[1]
    ),
)


def said(key: Key, default: Any = MISSING) -> Any:
    """A field of Claim: what its key in a file may hold, and what stands where a file does not say it."""
    return field(default=default, metadata={"key": key})


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A declared statement about factors, with its margin; the module's table says what each field means."""

    name: str = said(pattern(r"[\w.-]+( [\w.-]+)*", "words of letters, digits, dot, dash and underscore alone"))
    statement: str = said(TEXT)
    estimand: str = said(choice("gap", "test_loss", "test_error", "onset"), "")
    contrast: str = said(choice("regularised - plain", "plain", "regularised"), "regularised - plain")
    by: str = said(choice("depth", "kernel"), "")
    direction: str = said(choice("lower", "higher", "not_higher"), "")
    smallest_effect: float = said(positive(), 0.0)
    reference: float = said(positive(), 0.0)
    epochs: tuple[int, int] | None = said(WINDOW, None)
    smallest_rise: float = said(positive(), 0.0)
    at: str = said(choice("last epoch", "mean of last 3 epochs"), "last epoch")
    over: str = said(choice("seeds", "seeds and images"), "seeds")
    alpha: float = said(positive(below=0.5), 0.05)
    family: str = said(TEXT, "claims")
    all_of: tuple[str, ...] = said(several(TEXT, "names of claims"), ())

    @property
    def epochs_needed(self) -> int:
        """How many epochs a run must have for an onset in the window to be seen; 0 for a claim about something else."""
        return self.epochs[1] + CONFIRMING_EPOCHS if self.epochs else 0

    @property
    def epochs_read(self) -> int:
        """How many of the last epochs are averaged."""
        return 3 if self.at == "mean of last 3 epochs" else 1


CLAIM_KEYS: Mapping[str, Key] = {each.name: each.metadata["key"] for each in fields(Claim)}
HEADLINE_KEYS = {key: CLAIM_KEYS[key] for key in ("name", "statement", "alpha", "all_of")}
LATER = {"at": Claim.at, "over": Claim.over}
"""Keys that earlier versions did not know, with what their claims mean: a claim that says no more keeps its hash."""
FEWEST_SEEDS = 5
"""Below this no verdict is given: a spread cannot be told from so few seeds."""
CONFIRMING_EPOCHS = 3
"""Epochs that a run must go on after a window for an onset at its end to be seen."""
LARGEST_SHARE = 0.5
FIGURES = ("smallest_effect", "reference", "smallest_rise", "alpha")


def read_claims(path: Path, rows: Sequence[dict[str, Any]], last_epoch: int) -> tuple[Claim, ...]:
    """The claims in the rows of a file whose trainings end with `last_epoch`; raises ExperimentError."""
    claims: dict[str, Claim] = {}
    for order, row in enumerate(rows, start=1):
        require_keys(path, f"claims[{order}].", row, ("name",))
        place = f"claims[{row['name']}]."
        claim = _read_claim(path, place, row)
        if claim.name in claims:
            raise refuse(path, place + "name", "taken by another claim; give each its own")
        if claim.epochs_needed > last_epoch:
            latest = last_epoch - CONFIRMING_EPOCHS
            reason = f"an onset shows {CONFIRMING_EPOCHS} epochs later, and the last epoch is {last_epoch}"
            remedy = f"end it at {latest} or train longer" if latest > 0 else "train longer"
            raise refuse(path, place + "epochs", f"ends too late: {reason}; {remedy}")
        if claim.epochs_read > last_epoch:
            reason = f"needs {claim.epochs_read} epochs, and the last epoch is {last_epoch}"
            raise refuse(path, place + "at", f'{reason}; train longer or use "last epoch"')
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
    if row["estimand"] in ("onset", "test_error") and row["smallest_effect"] >= LARGEST_SHARE:
        raise refuse(path, place + "smallest_effect", "is a share, so 0.01 means 1 point; give one below 0.5")
    if row["estimand"] == "onset" and "at" in row:
        raise refuse(path, place + "at", "an onset is read off the whole curve; drop it")
    if row["estimand"] not in ("test_loss", "test_error") and row.get("over", "seeds") != "seeds":
        raise refuse(path, place + "over", "only a test loss or test error has images to cover; drop it")
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
                remedy = f"choose from {', '.join(parts)}" if parts else "this file has only headlines; declare it"
                raise refuse(path, f"claims[{name}].all_of", f'"{part}" is not a claim; {remedy}')
        if not claim.all_of and alphas.setdefault(claim.family, claim.alpha) != claim.alpha:
            raise refuse(path, f"claims[{name}].alpha", f'family "{claim.family}" has another; give it one alpha')


def hash_claim(claim: Claim) -> str:
    """sha256 (hex) of what a claim says; the order of keys, comments and 1 against 1.0 in its file do not change it."""
    return hash_content({name: value for name, value in asdict(claim).items() if (name, value) not in LATER.items()})


def hash_content(content: Mapping[str, Any]) -> str:
    """sha256 (hex) of what can be JSON, the order of its keys aside."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
