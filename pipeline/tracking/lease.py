"""One process a cell, wherever it runs: a lease in the store, which is all that several machines share."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from pipeline.errors import CellTaken, StoreAway
from pipeline.tracking.environment import identify_process, is_alive
from pipeline.tracking.store import STORE_ERRORS, Store, first_line

PREFIX = "lease."
LIMIT = timedelta(minutes=10)
REFRESH_SECONDS = 60.0
POLL_SECONDS = 0.2
Claims = Mapping[str, Mapping[str, str]]


@contextmanager
def hold_lease(store: Store, experiment_id: str, cell: str) -> Iterator[None]:
    """Hold the cell of this fingerprint until the block ends; raises CellTaken where another process does.

    A claim is written before the others are read, and held only once there is no other: of two processes at least one
    sees the other. A claim of a process that died counts for nothing.
    """
    prefix = f"{PREFIX}{cell[:16]}."
    mine = prefix + uuid.uuid4().hex[:12]
    try:
        try:
            _take(store, experiment_id, prefix, mine)
        except STORE_ERRORS as error:
            raise StoreAway(f"the tracking store did not answer: {first_line(error)}") from error
        with _refresh(store, experiment_id, mine):
            yield
    finally:
        with contextlib.suppress(*STORE_ERRORS):
            store.client.delete_experiment_tag(experiment_id, mine)


def _take(store: Store, experiment_id: str, prefix: str, mine: str) -> None:
    """Claim, and hold as soon as there is no other claim; raises CellTaken."""
    _write_claim(store, experiment_id, mine, held=False)
    while others := read_claims(store, experiment_id, prefix, without=mine):
        if min(others) < mine or any(claim["held"] == "yes" for claim in others.values()):
            other = next(iter(others.values()))
            raise CellTaken(f"the cell is taken by process {other['pid']} on {other['host']}; let it end")
        time.sleep(POLL_SECONDS)  # the others see this claim and withdraw, or have held the lease already
    _write_claim(store, experiment_id, mine, held=True)


def read_claims(store: Store, experiment_id: str, prefix: str = PREFIX, *, without: str = "") -> Claims:
    """The claims of living processes by their tag's name."""
    return {
        name: claim
        for name, claim in read_all_claims(store, experiment_id, prefix).items()
        if name != without and is_alive(claim, LIMIT)
    }


def read_all_claims(store: Store, experiment_id: str, prefix: str = PREFIX) -> Claims:
    """The claims of living and dead processes by their tag's name."""
    tags = store.client.get_experiment(experiment_id).tags
    return {name: json.loads(value) for name, value in tags.items() if name.startswith(prefix)}


def _write_claim(store: Store, experiment_id: str, name: str, *, held: bool) -> None:
    """Say who claims, and that it lives now."""
    heartbeat = datetime.now(UTC).isoformat(timespec="seconds")
    claim = {**identify_process(), "heartbeat": heartbeat, "held": "yes" if held else "no"}
    store.client.set_experiment_tag(experiment_id, name, json.dumps(claim))


@contextmanager
def _refresh(store: Store, experiment_id: str, name: str) -> Iterator[None]:
    """Renew the claim in the background, for those on other machines; a store that is away is tried again."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(REFRESH_SECONDS):
            with contextlib.suppress(*STORE_ERRORS):
                _write_claim(store, experiment_id, name, held=True)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
