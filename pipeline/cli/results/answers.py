"""What `predict` prints: for each picture the class and the probabilities, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.plain import escape_controls

if TYPE_CHECKING:
    from pipeline.images import Images
    from pipeline.serving.look import Look
    from pipeline.tracking.files.registry import FinishedRun

Results = Sequence["Look | str"]
Answers = Sequence[Sequence[float]]
WIDTH = 5  # of a column of probabilities
ANSWER = len("7 (100.0 %)")
MOST_COLUMNS = 10
FOLLOWING = 2  # classes named behind the first, where there are too many for columns


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The network that answers: its run, the images that it knows, and the word for what it names."""

    run: FinishedRun
    images: Images
    word: str


def list_json(asked: Asked, paths: Sequence[Path], results: Results, answers: Answers) -> str:
    """One object a line and picture: file, and digit (or class), probabilities, warnings, or error."""
    rows, lines, classes = iter(answers), [], asked.images.classes
    for path, result in zip(paths, results, strict=True):
        if isinstance(result, str):
            lines.append(json.dumps({"file": str(path), "error": result.removeprefix(f"{path}: ")}))
            continue
        row = next(rows)
        best, rounded = rank(row)[0], [round(p, 6) for p in row]
        if asked.word == "digit":
            answer: dict[str, object] = {"digit": best, "probabilities": rounded}
        else:
            answer = {"class": classes[best], "probabilities": dict(zip(classes, rounded, strict=True))}
        lines.append(json.dumps({"file": str(path), **answer, "warnings": list_doubts(asked, result, row)}))
    return "\n".join(lines)


def tabulate(asked: Asked, looks: Sequence[Look], answers: Answers) -> str:
    """A line a picture: the answer with its probability, the picture, the probabilities of all classes or the next."""
    if not looks:
        return ""
    classes = asked.images.classes
    wide = len(classes) > MOST_COLUMNS or max(map(len, classes)) >= WIDTH
    said = [f"{classes[rank(row)[0]]} ({100 * max(row):.1f} %)" for row in answers]
    room = max(ANSWER, *map(len, said))
    width = max(len("picture"), *(len(name_picture(look)) for look in looks))
    rest = "  then" if wide else "".join(f"{name:>{WIDTH}}" for name in classes)
    lines = [f"{asked.word:<{room}}  {'picture':<{width}}{rest}"]
    for look, row, answer in zip(looks, answers, said, strict=True):
        if wide:
            following = rank(row)[1 : FOLLOWING + 1]
            rest = "  " + ", ".join(f"{classes[place]} {row[place]:.2f}" for place in following)
        else:
            rest = "".join(f"{value:>{WIDTH}.2f}" for value in row)
        lines.append(f"{answer:<{room}}  {name_picture(look):<{width}}{rest}")
    return "\n".join(lines)


def name_picture(look: Look) -> str:
    """The picture's path, as it may stand in a terminal."""
    return escape_controls(str(look.path))


def list_doubts(asked: Asked, look: Look, row: Sequence[float]) -> list[str]:
    """Everything that makes an answer unsure."""
    from pipeline.serving.look import describe_doubt

    return [doubt for doubt in (*look.doubts, describe_doubt(row, asked.word, asked.images.classes)) if doubt]


def rank(row: Sequence[float]) -> list[int]:
    """The places of the classes, the likeliest first."""
    return sorted(range(len(row)), key=row.__getitem__, reverse=True)
