from __future__ import annotations

import json
import random
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.errors import CellTaken
from pipeline.study.tags import PID
from pipeline.tracking.process import LIMIT, PREFIX, hold_lease, identify_process, is_alive, read_leases
from pipeline.tracking.store import Store, find_experiment, open_store

CELL = "a" * 64


@pytest.fixture
def place(store_uri: str, request: pytest.FixtureRequest) -> tuple[Store, str]:
    store = open_store()
    return store, find_experiment(store, request.node.name, create=True)


def read_tags(place: tuple[Store, str]) -> dict[str, str]:
    store, experiment_id = place
    return dict(store.client.get_experiment(experiment_id).tags)


def test_a_cell_is_held_by_one_at_a_time(place: tuple[Store, str]) -> None:
    inside, most, refused, held = [], [], [], []

    def train_once() -> None:
        while True:
            try:
                with hold_lease(*place, CELL):
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.05)
                    inside.pop()
                    held.append(1)
                    return
            except CellTaken as error:
                refused.append(str(error))
                time.sleep(random.uniform(0, 0.1))

    threads = [threading.Thread(target=train_once) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (max(most), len(held)) == (1, 4)
    assert refused
    assert read_leases(read_tags(place)) == {}


def test_another_cell_is_free(place: tuple[Store, str]) -> None:
    with hold_lease(*place, CELL), hold_lease(*place, "b" * 64):
        assert len(read_leases(read_tags(place))) == 2


FAR = {**identify_process(), "host": "far"}
FRESH, STALE = timedelta(0), LIMIT + timedelta(minutes=1)
CLAIMS = {
    "lives here": (identify_process(), FRESH, True),
    "died here": ({**identify_process(), "pid": str(2**22)}, FRESH, False),
    "before the boot": ({**identify_process(), "boot_id": "before"}, FRESH, False),
    "lives elsewhere": (FAR, FRESH, True),
    "silent elsewhere": (FAR, STALE, False),
}


def write_heartbeat(age: timedelta = FRESH) -> str:
    return (datetime.now(UTC) - age).isoformat()


@pytest.mark.parametrize("case", CLAIMS)
def test_only_the_living_hold_a_cell(place: tuple[Store, str], case: str) -> None:
    store, experiment_id = place
    claim, age, holds = CLAIMS[case]
    name = f"{PREFIX}{CELL[:16]}.{'f' * 12}"
    store.client.set_experiment_tag(
        experiment_id, name, json.dumps({**claim, "heartbeat": write_heartbeat(age), "held": "yes"})
    )
    if holds:
        with pytest.raises(CellTaken, match="is taken by process"), hold_lease(store, experiment_id, CELL):
            pass
    else:
        with hold_lease(store, experiment_id, CELL):
            pass
    assert list(read_leases(read_tags(place))) == [name]  # a refused claim is withdrawn
    store.client.delete_experiment_tag(experiment_id, name)


def test_of_two_that_claim_at_once_the_first_by_name_waits_for_the_other_to_withdraw(place: tuple[Store, str]) -> None:
    store, experiment_id = place
    name = f"{PREFIX}{CELL[:16]}.z"  # after every name in order
    claim = json.dumps({**identify_process(), "heartbeat": write_heartbeat(), "held": "no"})
    store.client.set_experiment_tag(experiment_id, name, claim)
    timer = threading.Timer(0.5, store.client.delete_experiment_tag, (experiment_id, name))
    timer.start()
    with hold_lease(store, experiment_id, CELL):
        assert not timer.is_alive()


def test_a_process_number_that_no_process_can_have_is_dead() -> None:
    tags = {**identify_process(), PID: "999999999999"}
    assert not is_alive(tags)
