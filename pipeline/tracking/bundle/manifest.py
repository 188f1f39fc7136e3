"""What a bundle says of its experiment: every run with all that its store holds, checked before it is believed.

A manifest may come from anywhere, so each record refuses what a store, a file system or a terminal would stumble over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from io import BytesIO
from typing import Any, get_args, get_origin, get_type_hints

from pipeline.errors import PipelineError
from pipeline.study.tags import KIND, ORIGIN, OUTCOME, RUN_NAME
from pipeline.tracking.process import PREFIX

FORMAT = 1
STATUSES = ("FINISHED", "KILLED", "FAILED")
OUTCOMES = ("finished", "killed", "failed")
SHA256 = re.compile(r"[0-9a-f]{64}")
RUN_ID = re.compile(r"[0-9a-f]{32}")
KEY = re.compile(r"[\w.:-][\w./: -]{0,249}")
PART = re.compile(r"[\w.,+=@()\- ]{1,200}")
WHOLE = 2**53
PATH_LENGTH, DEPTH = 400, 12
VALUE_LENGTHS = {"param": 6000, "tag": 8000, "experiment tag": 20_000, "input tag": 500}
Point = tuple[int, int, str]
"""Step, milliseconds since 1970, and the value as Python's repr, which gives the same float back bit for bit."""


class BundleError(PipelineError):
    """A bundle that is damaged, foreign or cannot be taken into this store."""


@dataclass(frozen=True, kw_only=True)
class BundledFile:
    """A file by its path below the run's or model's folder, with the hash and the size (bytes) of its content."""

    path: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        parts = self.path.split("/")
        short = len(self.path) <= PATH_LENGTH and len(parts) <= DEPTH
        plain = short and all(PART.fullmatch(part) and part.strip(". ") for part in parts)
        _demand(plain, f"{self.path!r:.80} is not a plain path below a folder")
        known = SHA256.fullmatch(self.sha256) is not None and 0 <= self.size < WHOLE
        _demand(known, f"{self.path} has no hash or size")


@dataclass(frozen=True, kw_only=True)
class BundledInput:
    """A data set that a run was trained on, as MLflow describes it."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str
    profile: str
    tags: Mapping[str, str]

    def __post_init__(self) -> None:
        for value, limit in ((self.name, 500), (self.digest, 36), (self.source_type, 36), (self.source, 65_535)):
            _check_text(value, limit, "a data set")
        _check_text(self.schema + self.profile, 1_000_000, "a data set's description")
        _check_texts(self.tags, "input tag")


@dataclass(frozen=True, kw_only=True)
class _Bundled:
    """What a model and a run have alike."""

    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, tuple[Point, ...]]
    files: tuple[BundledFile, ...] = ()

    def _check(self) -> None:
        _check_texts(self.params, "param")
        _check_texts(self.tags, "tag")
        _check_metrics(self.metrics)
        _check_files(self.files)


@dataclass(frozen=True, kw_only=True)
class BundledModel(_Bundled):
    """A logged model with its files."""

    name: str
    model_type: str
    step: int

    def __post_init__(self) -> None:
        _demand(PART.fullmatch(self.name) is not None, f"{self.name!r:.80} is not a model's name")
        _demand(abs(self.step) < WHOLE, "a model's step is not a step")
        _check_text(self.model_type, 250, "a model's type")
        self._check()
        _demand("MLmodel" in {file.path for file in self.files}, f"the model {self.name} has no MLmodel file")


@dataclass(frozen=True, kw_only=True)
class BundledRun(_Bundled):
    """A training that has ended; `started` and `ended` in milliseconds since 1970."""

    run_id: str
    status: str
    started: int
    ended: int
    inputs: tuple[BundledInput, ...] = ()
    models: tuple[BundledModel, ...] = ()

    def __post_init__(self) -> None:
        _demand(RUN_ID.fullmatch(self.run_id) is not None, f"{self.run_id!r:.80} is not a run's id")
        _demand(0 <= self.started < WHOLE and 0 <= self.ended < WHOLE, f"run {self.run_id} has no start or end")
        ended = self.tags.get(KIND) == "train" and self.tags.get(OUTCOME) in OUTCOMES and self.status in STATUSES
        _demand(ended and ORIGIN not in self.tags, f"run {self.run_id} is not a training that has ended")
        _demand(self.name.isprintable() and 0 < len(self.name) <= 250, f"run {self.run_id} has a name not to be shown")
        self._check()

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.tags.get(RUN_NAME, self.run_id)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """An experiment with its runs, in the order in which they started."""

    format: int = FORMAT
    experiment: str
    tags: Mapping[str, str]
    runs: tuple[BundledRun, ...]

    def __post_init__(self) -> None:
        named = self.experiment.strip() and len(self.experiment) <= 250 and self.experiment.isprintable()
        _demand(bool(named), f"{self.experiment!r:.80} is not an experiment's name")
        _demand(not any(key.startswith(PREFIX) for key in self.tags), "it holds the lease of a process")
        _check_texts(self.tags, "experiment tag")
        _demand(len({run.run_id for run in self.runs}) == len(self.runs), "it holds a run twice")

    @property
    def files(self) -> list[BundledFile]:
        """Every file of every run and model; one content may be in it often."""
        owners: list[BundledRun | BundledModel] = [*self.runs, *(model for run in self.runs for model in run.models)]
        return [file for owner in owners for file in owner.files]


def encode_manifest(manifest: Manifest) -> bytes:
    """The one text that a manifest has."""
    return b"".join(_encode_parts(manifest))


def _encode_parts(manifest: Manifest) -> Iterator[bytes]:
    """The text in small pieces: as one value of Python it takes thirty times its length."""
    encoder = json.JSONEncoder(sort_keys=True, indent=1, default=vars)
    yield from (part.encode() for part in encoder.iterencode(manifest))
    yield b"\n"


def decode_manifest(content: bytes) -> Manifest:
    """The manifest of a text from anywhere; raises BundleError unless every part of it is as export writes it."""
    try:
        table = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError("its manifest is no JSON") from error
    version = table.get("format") if isinstance(table, dict) else None
    if version != FORMAT:
        raise BundleError(f"its format is {version!r:.20}, this program reads {FORMAT}; export it again")
    manifest: Manifest = _decode(Manifest, table, "the manifest")
    del table
    text = BytesIO(content)
    same = all(text.read(len(part)) == part for part in _encode_parts(manifest)) and not text.read(1)
    _demand(same, "its manifest is not as export writes it")
    return manifest


def _decode(kind: Any, value: Any, place: str) -> Any:
    """A value of JSON as the annotated type `kind`: a dataclass, a mapping, a tuple, a text or a whole number."""
    inner = get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        _demand(type(value) is dict and set(value) == set(hints), f"{place} does not have the keys {', '.join(hints)}")
        return kind(**{name: _decode(each, value[name], f"{place}: {name}") for name, each in hints.items()})
    if get_origin(kind) is tuple:
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis and type(value) is list else inner
        _demand(type(value) is list and len(value) == len(kinds), f"{place} is not a list of the right length")
        return tuple(_decode(each, item, place) for each, item in zip(kinds, value, strict=True))
    if get_origin(kind) is not None:
        _demand(type(value) is dict, f"{place} is not a table")
        return {key: _decode(inner[1], item, f"{place}: {key!r:.80}") for key, item in value.items()}
    _demand(type(value) is kind, f"{place} is no {'text' if kind is str else 'whole number'}")
    return value


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BundleError(otherwise)


def _check_text(value: str, limit: int, what: str) -> None:
    """Refuse what no store would take as it is: too long, a NUL, half a character."""
    whole = "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    _demand(whole and len(value) <= limit, f"{what} has a value that is too long or no text")


def _check_texts(values: Mapping[str, str], kind: str) -> None:
    """Refuse keys and values that MLflow refuses: only after the whole file is judged may anything be written."""
    for key, value in values.items():
        _check_key(key, kind)
        _check_text(value, VALUE_LENGTHS[kind], f"the {kind} {key}")


def _check_key(key: str, kind: str) -> None:
    """MLflow takes a key for a path."""
    parts = key.split("/")
    _demand(KEY.fullmatch(key) is not None and not {"", ".", ".."} & set(parts), f"{key!r:.80} is no {kind}'s name")


def _check_metrics(metrics: Mapping[str, tuple[Point, ...]]) -> None:
    """Each point once, in order, with a value that its repr gives back."""
    for key, points in metrics.items():
        _check_key(key, "metric")
        _demand(bool(points) and sorted(set(points)) == list(points), f"the metric {key} is not in order")
        for step, timestamp, value in points:
            _demand(abs(step) < WHOLE and 0 <= timestamp < WHOLE and _is_exact(value), f"the metric {key} has no value")


def _is_exact(value: str) -> bool:
    try:
        return repr(float(value)) == value
    except ValueError:
        return False


def _check_files(files: tuple[BundledFile, ...]) -> None:
    """Each file once, and none where another one needs a folder, on file systems that know no case as well."""
    paths = [file.path.casefold() for file in files]
    folders = {"/".join(path.split("/")[:depth]) for path in paths for depth in range(1, path.count("/") + 1)}
    _demand(len(set(paths)) == len(paths) and not folders & set(paths), "two of its files have one path")
