"""Make a value plain text of a markup language; HTML and XML have their libraries' own."""

from __future__ import annotations

import re

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def escape_markdown(value: object) -> str:
    """Text that neither starts markup nor ends a table cell; an underscore inside a word is none."""
    text = re.sub(r"\s+", " ", str(value))
    return re.sub(r"([\\`*\[\]<>|&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)


def escape_latex(value: object) -> str:
    """Text that LaTeX sets as it is, on one line so that it cannot leave a comment."""
    return re.sub(r"\s+", " ", "".join(LATEX.get(character, character) for character in str(value)))
