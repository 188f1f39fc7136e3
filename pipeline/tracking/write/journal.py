"""What a run writes goes to a local file first: an unreachable store delays it, and nothing else.

One JSON line a write, in `mlruns/.journal/RUN_ID.jsonl`; the file is gone once the store has everything. A write may be
delivered twice, so each one names its own moment: MLflow keeps one of two points that agree in step and time.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any, ParamSpec, TypeVar

from mlflow.entities import Metric, RunTag

from pipeline import interrupts
from pipeline.errors import StoreError, StoreUnreachable
from pipeline.faults import fault_point
from pipeline.private import make_folder, name_file, open_privately
from pipeline.tracking.mlflow_internals import LOGGED_IMAGES, name_step_image
from pipeline.tracking.quick import locate_journals
from pipeline.tracking.store import STORE_ERRORS, Store, first_line, is_unreachable
from pipeline.tracking.values import read_number

PATIENCE = "PIPELINE_STORE_PATIENCE"
PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 2.0
PAUSES = 5  # while the store is unreachable, trying it may take a sixth of a training's time

Given = ParamSpec("Given")
Answer = TypeVar("Answer")
Write = dict[str, Any]
logger = logging.getLogger(__name__)


def read_patience() -> float:
    """For how many seconds a call to the store is retried; raises StoreError if the variable is not a number."""
    given = os.environ.get(PATIENCE, str(PATIENCE_SECONDS))
    seconds = read_number(given)
    if seconds is None:
        raise StoreError(f'{PATIENCE} is "{given}"; set it to a number of seconds, such as {PATIENCE_SECONDS:g}')
    return seconds


class Journal:
    """The writes of one run, delivered in their order; what an earlier process could not deliver comes first."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.client, self.run_id = store.client, run_id
        self.path = locate_journals(store) / f"{run_id}.jsonl"
        self.pending = list(_read_writes(self.path))
        self.patience = read_patience()
        self.next_try = 0.0
        self.reason = "it does not answer"

    def log(self, metrics: Mapping[str, float], tags: Mapping[str, str], step: int, milliseconds: int | None) -> None:
        """Metrics of one step (the epoch) and tags, in one write; milliseconds since 1970, or now."""
        moment = milliseconds or _now_milliseconds()
        points = [[str(name), value, moment, step] for name, value in metrics.items()]
        self.write({"metrics": points, "tags": dict(tags)})

    @interrupts.shield()
    def log_image(self, name: str, step: int, endings: Mapping[str, bytes]) -> None:
        """A step image, for the slider of MLflow's image grid: the content of its files by the ending of their name."""
        folder = self.path.with_suffix("")
        make_folder(folder)
        stem = name_step_image(name, step, _now_milliseconds(), self.run_id)
        for ending, content in endings.items():
            path = folder / (stem + ending)
            with name_file(path), open(path, "wb", opener=open_privately) as file:
                file.write(content)
        files = [stem + ending for ending in endings]
        self.write({"files": files, "folder": "images", "metrics": [], "tags": {LOGGED_IMAGES: "True"}})

    def end(self, status: str) -> None:
        """The run's status, and that it has ended now."""
        self.write({"status": status, "ended": _now_milliseconds()})

    def write(self, write: Write) -> None:
        """Keep a write, then deliver all that is pending unless the store was unreachable a moment ago."""
        self.pending.append(write)
        try:
            _append(self.path, write)
        except OSError:  # a full disk: only the store can keep it now
            if not self.deliver():
                raise
            return
        fault_point("journalled")
        if time.monotonic() >= self.next_try:
            self.deliver()

    def deliver(self) -> bool:
        """Send what is pending; False while the store is unreachable. Raises what the store says when it refuses."""
        began = time.monotonic()
        try:
            while self.pending:
                self._send(self.pending[0])
                self.pending.pop(0)
        except STORE_ERRORS as error:
            if not is_unreachable(error):
                raise
            self.reason = shorten(first_line(error), 100)
            if not self.next_try:
                logger.warning("the tracking store is unreachable (%s); the run goes on", self.reason)
            self.next_try = time.monotonic() + max(PAUSE_SECONDS, PAUSES * (time.monotonic() - began))
            return False
        if self.next_try:
            logger.warning("the tracking store is reachable again")
        self.next_try = 0.0
        self._clear()
        return True

    def call(self, function: Callable[Given, Answer], *arguments: Given.args, **named: Given.kwargs) -> Answer:
        """Call the store's `function`, after all that is pending, until it answers.

        Raises StoreUnreachable when PIPELINE_STORE_PATIENCE seconds are over, and at once what the store says when it
        refuses.
        """
        deadline = time.monotonic() + self.patience
        while True:
            try:
                if self.deliver():
                    return function(*arguments, **named)
            except STORE_ERRORS as error:
                if not is_unreachable(error):
                    raise
                self.reason = shorten(first_line(error), 100)
            if time.monotonic() > deadline:
                raise StoreUnreachable(
                    f"the tracking store is unreachable ({self.reason}); run {self.run_id} is safe in mlruns/ on this "
                    "machine, `python -m pipeline sync` delivers it once the store answers"
                )
            interrupts.check()
            time.sleep(PAUSE_SECONDS)

    def flush(self) -> None:
        """Wait until the store has everything; raises as call does."""
        self.call(lambda: None)

    def _send(self, write: Write) -> None:
        if "status" in write:
            self.client.set_terminated(self.run_id, write["status"], write["ended"])
            return
        for file in write.get("files", ()):
            self.client.log_artifact(self.run_id, str(self.path.with_suffix("") / file), write["folder"])
            fault_point("file-delivered")
        metrics = [Metric(*point) for point in write["metrics"]]
        self.client.log_batch(self.run_id, metrics, tags=[RunTag(*tag) for tag in write["tags"].items()])
        fault_point("delivered")

    def _clear(self) -> None:
        self.path.unlink(missing_ok=True)
        folder = self.path.with_suffix("")
        if folder.is_dir():
            shutil.rmtree(folder)


def _append(path: Path, write: Write) -> None:
    """Add a line that survives this process and the machine."""
    make_folder(path.parent)
    with name_file(path), open(path, "a", encoding="utf-8", opener=open_privately) as file:
        file.write(json.dumps(write) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _read_writes(path: Path) -> Iterator[Write]:
    """What an earlier process could not deliver; a last line that its death cut short was never promised."""
    if not path.is_file():
        return
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if line.endswith(b"\n"):
            try:
                yield json.loads(line)
            except ValueError:
                raise StoreError(f"line {number} of {path} is damaged; remove that line, then sync again") from None


def _now_milliseconds() -> int:
    return int(time.time() * 1000)
