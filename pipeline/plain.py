"""Counts and durations as people write them, and text from elsewhere made fit to be shown: no secrets of addresses,
nothing that moves a cursor or reorders words.
"""

from __future__ import annotations

import math
import re
from urllib.parse import parse_qsl, unquote, urlsplit

from pipeline.errors import ExperimentError

SECRETS = re.compile(r"password|passwd|pwd|passphrase|token|secret|api_?key|access_?key|signature|credential", re.I)
"""What the name of a parameter holds whose value is nobody's business."""
PARAMETER = re.compile(r"(?<=[?&;])([\w.~%+-]+)=([^&;#\s'\"]*)")
USER = re.compile(r"(?<=://)([^/\s:@]*)(?::[^/\s@]*)?@")
HIDDEN = "***"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 epoch, 3 epochs."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def parse_duration(text: str) -> float:
    """Seconds from "90s", "30m", "2h" or "1d"; raises ExperimentError."""
    number, unit = text[:-1], text[-1:]
    try:
        seconds = float(number) * UNITS[unit]
    except (ValueError, KeyError):
        raise ExperimentError(f'"{text}" is not a duration; write it as 90s, 30m, 2h or 1d') from None
    if not 0 < seconds < math.inf:
        raise ExperimentError(f'"{text}" is not a duration; give more than nothing')
    return seconds


def format_duration(seconds: float) -> str:
    """Seconds as people say them: 45 s, 12 min, 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def escape_controls(text: str) -> str:
    r"""The text on one line, with every character that has no picture as its escape, as \x1b."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def hide_secrets(text: str, uri: str = "") -> str:
    """A text without the passwords and tokens of addresses in it, and without those of `uri` wherever they stand."""
    for secret in sorted(_find_secrets(uri), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = PARAMETER.sub(lambda found: f"{found[1]}={HIDDEN}" if SECRETS.search(unquote(found[1])) else found[0], text)
    return USER.sub(lambda found: f"{found[1]}:{HIDDEN}@" if ":" in found[0] else f"{HIDDEN}@", text)


def _find_secrets(uri: str) -> set[str]:
    """The secrets of an address, as they stand there and as they are meant."""
    try:
        parts = urlsplit(uri)
        found = {parts.password or "", *(value for name, value in parse_qsl(parts.query) if SECRETS.search(name))}
    except ValueError:
        return set()
    found |= {value for name, value in PARAMETER.findall(uri) if SECRETS.search(name)}
    return {form for secret in found for form in (secret, unquote(secret)) if form}
