"""Make a value plain text of a markup language; HTML and XML have their libraries' own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pipeline.plain import escape_controls

LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)


def escape_markdown(value: object) -> str:
    """Text that neither starts markup nor ends a table cell; an underscore inside a word is none."""
    text = escape_controls(re.sub(r"\s+", " ", str(value)))
    return re.sub(r"([\\`*\[\]<>|&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)


def quote_code(value: object) -> str:
    """Text as a code span of Markdown, fenced by more backticks than it has in a row."""
    text = escape_controls(str(value))
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence} {text} {fence}" if len(fence) > 1 else f"`{text}`"


def quote_cell(value: object) -> str:
    """Text as a code span in a cell of a table, which a bar would end even there."""
    return quote_code(value).replace("|", r"\|")


def write_table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> list[str]:
    """The lines of a table in Markdown; its last columns hold so many numbers, which stand right."""
    rule = ["---"] * (len(heads) - numbers) + ["---:"] * numbers
    return [f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows)]


def escape_latex(value: object) -> str:
    """Text that LaTeX sets as it is, on one line so that it cannot leave a comment."""
    return re.sub(r"\s+", " ", str(value).translate(LATEX))
