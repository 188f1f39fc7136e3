"""A verdict: what the runs say to one claim, with everything that a reader needs to check it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.analysis.contrasts import find_null, find_sign
from pipeline.analysis.onset import OnsetShare
from pipeline.study.claims import Claim

NAN = float("nan")
UNITS = {"gap": "nats", "test_loss": "nats", "test_error": "fraction", "onset": "fraction"}
STEPS = {"depth": "convolution", "kernel": "pixel of kernel width"}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the runs say to one claim; numbers that are not there are nan.

    `verdict` is one of the six words; `outcome` the same, but of a DEVIATED claim what it would be as it stands.
    Effects are raw, whatever the direction: regularised minus plain, or a level, in `unit` (errors and shares are
    fractions). `interval` holds at `level` = 1 - the claim's alpha after correction, `null` is what it is held
    against. `seeds_needed`, all told, give 80 % power at the smallest effect of interest, taken at the upper 80 %
    confidence limit of the SD (None: more than 10,000, or unknown). `reduction` is 1 - regularised / plain with its 1
    - alpha interval. `reason` says why a claim is UNTESTABLE, `left_out` what incomplete seeds lack. `parts` are
    those of a headline.
    """

    claim: Claim
    verdict: str = ""
    outcome: str = ""
    reason: str = ""
    effect: float = NAN
    unit: str = ""
    interval: tuple[float, float] = (NAN, NAN)
    level: float = NAN
    null: float = NAN
    p: float = NAN
    p_adjusted: float = NAN
    p_sign_flip: float = NAN
    n_seeds: int = 0
    per_seed: tuple[tuple[int, float], ...] = ()
    twins_agree: int = 0
    twins: int = 0
    p_twins: float = NAN
    seeds_needed: int | None = None
    reduction: tuple[float, float, float] = (NAN, NAN, NAN)
    onset_share: OnsetShare | None = None
    left_out: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()
    epochs: int = 0
    subset: int = 0
    parts: tuple[Verdict, ...] = ()
    sentence: str = ""

    @property
    def name(self) -> str:
        """The claim's name."""
        return self.claim.name

    @property
    def statement(self) -> str:
        """What the claim says."""
        return self.claim.statement


def name_unit(claim: Claim) -> str:
    """Unit of the claim's effect, as "nats per convolution"."""
    return UNITS[claim.estimand] + (f" per {STEPS[claim.by]}" if claim.by else "")


def decide(claim: Claim, interval: tuple[float, float]) -> str:
    """The verdict that an interval of the claim's effect carries, by the table in pipeline.analysis.claims."""
    sign, null, small = find_sign(claim), find_null(claim), claim.smallest_effect
    worst, best = sorted(sign * (bound - null) for bound in interval)
    if worst > 0:
        return "SUPPORTED"
    if best < 0:
        return "REFUTED"
    if claim.direction != "not_higher" and -small < worst and best < small:
        return "NEGLIGIBLE"
    return "INCONCLUSIVE"
