"""Points at which a test may kill the process, counted in SQLite's way: the first, the second, until none is left."""

from __future__ import annotations

import os
import signal
from collections import Counter

_passed: Counter[str] = Counter()


def fault_point(name: str) -> None:
    """Die here by SIGKILL if FAULT=point:n:kill names this point and it is passed the n-th time; "any" counts all."""
    fault = os.environ.get("FAULT", "").split(":")
    if len(fault) != 3 or fault[0] not in (name, "any") or fault[2] != "kill":
        return
    _passed[fault[0]] += 1
    if str(_passed[fault[0]]) == fault[1]:
        os.kill(os.getpid(), signal.SIGKILL)
