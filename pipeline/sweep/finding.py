"""What a look at a store can find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something wrong. `fix` does what `remedy` says and tells whether it could; without it, that is the user's."""

    subject: str
    problem: str
    remedy: str
    fix: Callable[[], bool] | None = None
