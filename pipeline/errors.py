"""The few errors that a user can meet; each message is one line that says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path


class PipelineError(Exception):
    """Base of every error that is the fault of the input or the environment: one line, no traceback."""

    exit_code = 1


class UnknownVariant(PipelineError):
    """A name that is not a row of the study's table."""

    def __init__(self, name: str, choices: Sequence[str], suggestion: str | None = None) -> None:
        hint = f"did you mean {suggestion}? " if suggestion else ""
        super().__init__(f'"{name}" is not a variant; {hint}choose one of {", ".join(choices)}')


class ExperimentError(PipelineError):
    """An experiment file that cannot be read or does not describe an experiment."""


class DataError(PipelineError):
    """Image data that is missing, damaged or not of the expected form."""


class StoreError(PipelineError):
    """A tracking store that cannot be used, or does not hold what was asked for."""


class UnknownExperiment(StoreError):
    """A name that no experiment of the store has."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        files = {path.stem: str(path) for path in (*Path("experiments").glob("*.toml"), *Path().glob("*.toml"))}
        if name in files:
            super().__init__(f'no run of "{name}" in the store yet; start with: python -m pipeline sweep {files[name]}')
            return
        close = difflib.get_close_matches(name, [*files, *known], n=1)
        found = [files.get(each, each) if each not in known else each for each in close]
        hint = f"did you mean {found[0]}? " if found else ""
        has = f"it has {', '.join(sorted(known))}" if known else "it has none"
        super().__init__(f'no experiment "{name}" in the store; {hint}{has}')


class StoreUnreachable(StoreError):
    """A tracking store that was there and does not answer at the moment; what was measured is kept on this machine."""

    exit_code = 74


class RunsDamaged(StoreError):
    """Runs that are no longer what they were when they finished."""


class CellTaken(PipelineError):
    """A cell that another process trains at this moment."""

    exit_code = 75


class TrainingError(PipelineError):
    """A training that cannot go on, for one because its loss is no longer finite."""


class ResumeError(PipelineError):
    """A run that cannot go on, or a checkpoint that cannot be used."""


class AnalysisError(PipelineError):
    """Runs that cannot carry the analysis asked for."""


class RunKilled(BaseException):
    """SIGINT, SIGTERM or SIGHUP; no Exception, so that no library swallows it."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
        self.said = ""  # how far the work came and the command that continues, a line each
