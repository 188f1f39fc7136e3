"""A verdict: what the runs say to one claim, with everything that a reader needs to check it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.analysis.claims.contrasts import find_null, find_sign
from pipeline.analysis.claims.design import NO_LOOKS, Look
from pipeline.analysis.claims.networks import Across, TwinEffect
from pipeline.study.claims import Claim, Standing

NAN = float("nan")
UNITS = {"gap": "nats", "test_loss": "nats", "test_error": "fraction", "onset": "fraction"}
STEPS = {"depth": "convolution", "kernel": "pixel of kernel width"}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the runs say to one claim; numbers that are not there are nan.

    `verdict` is one of the six words; `outcome` the same, but of a DEVIATED claim what it would be as it stands, and
    `standing` says when the claim was frozen. Effects are raw, whatever the direction: regularised minus plain, or a
    level, in `unit` (errors and shares are fractions).

    The verdict rests on `interval`, at `level` = 1 - the claim's alpha after all corrections (Holm's, and the share of
    its `look`), held against `null`; `interval_95` is the plain 95 % one. Where test images were read, `images` is
    their number and `half_seeds` and `half_images` are the half-widths of the 95 % intervals over seeds, and over seeds
    and images. `by_twin` are the twins' own effects, `across` what they say of other networks. `seeds_needed`, all
    told, give 80 % power at the smallest effect of interest, taken at the upper 80 % confidence limit of the SD; it is
    None where a verdict was reached, above 10,000 or if unknown. `reduction` is 1 - regularised / plain with its 95 %
    interval.

    `reason` says why a claim is UNTESTABLE, `left_out` what incomplete seeds lack, `troubles` which runs make the
    verdict doubtful; `without` is then the verdict without their seeds or twins, and `outcome_with` the one with them.
    `parts` are those of a headline.
    """

    claim: Claim
    verdict: str = ""
    outcome: str = ""
    standing: Standing = ""
    reason: str = ""
    effect: float = NAN
    unit: str = ""
    interval: tuple[float, float] = (NAN, NAN)
    level: float = NAN
    interval_95: tuple[float, float] = (NAN, NAN)
    null: float = NAN
    p: float = NAN
    p_adjusted: float = NAN
    p_sign_flip: float = NAN
    n_seeds: int = 0
    look: Look = NO_LOOKS
    per_seed: tuple[tuple[int, float], ...] = ()
    images: int = 0
    half_seeds: float = NAN
    half_images: float = NAN
    by_twin: tuple[TwinEffect, ...] = ()
    twins_agree: int = 0
    twins: int = 0
    p_twins: float = NAN
    across: Across | None = None
    seeds_needed: int | None = None
    reduction: tuple[float, float, float] = (NAN, NAN, NAN)
    left_out: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    outcome_with: str = ""
    without: Verdict | None = None
    run_ids: tuple[str, ...] = ()
    epochs: int = 0
    subset: int = 0
    parts: tuple[Verdict, ...] = ()

    @property
    def name(self) -> str:
        """The claim's name."""
        return self.claim.name

    @property
    def statement(self) -> str:
        """What the claim says."""
        return self.claim.statement

    @property
    def word(self) -> str:
        """The verdict as a table shows it: with what is to be said of its freezing."""
        said = {"": "", "late": " (LATE)", "never": " (NEVER FROZEN)"}[self.standing]
        return self.verdict + said

    @property
    def astray(self) -> int:
        """How many seeds alone lie on the other side of the null than their mean."""
        return sum((value - self.null) * (self.effect - self.null) <= 0 for _, value in self.per_seed)

    @property
    def is_open(self) -> bool:
        """Whether more seeds could still bring a verdict."""
        return self.outcome in ("INCONCLUSIVE", "UNTESTABLE")


def name_unit(claim: Claim) -> str:
    """Unit of the claim's effect, as "nats per convolution"."""
    return UNITS[claim.estimand] + (f" per {STEPS[claim.by]}" if claim.by else "")


def decide(claim: Claim, interval: tuple[float, float]) -> str:
    """The verdict that an interval of the claim's effect carries, by the table in pipeline.analysis.claims.judge."""
    sign, null, small = find_sign(claim), find_null(claim), claim.smallest_effect
    worst, best = sorted(sign * (bound - null) for bound in interval)
    if worst > 0:
        return "SUPPORTED"
    if best < 0:
        return "REFUTED"
    if claim.direction != "not_higher" and -small < worst and best < small:
        return "NEGLIGIBLE"
    return "INCONCLUSIVE"
