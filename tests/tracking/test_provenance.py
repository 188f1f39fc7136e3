from __future__ import annotations

import pytest

from pipeline.errors import StoreError
from pipeline.study.settings import Settings
from pipeline.study.tags import COMMIT
from pipeline.tracking.provenance import read_provenance
from pipeline.tracking.runs import read_runs
from pipeline.tracking.store import open_store
from tests.tracking.planted import plant_study


@pytest.fixture
def planted(store_uri: str) -> str:
    return plant_study(open_store(), "told", ("conv2_3x3", "conv2_3x3_reg"), range(2))


def test_where_runs_come_from_is_told_in_their_order(planted: str) -> None:
    store = open_store()
    runs = read_runs(store, planted).query("epochs == 4").sort_values(["variant", "seed"])
    told = read_provenance(store, planted, runs, ())
    assert [(run.run_id, run.variant) for run in told] == list(zip(runs["run_id"], runs["variant"], strict=True))
    assert [run.settings for run in told] == [
        Settings(epochs=4, subset=600, threads=1, seed=seed) for seed in runs["seed"]
    ]
    info = store.client.get_run(told[0].run_id).info
    assert told[0].seconds == (info.end_time - info.start_time) / 1000
    assert (told[0].attempts, told[0].dirty, told[0].environment) == (1, None, {})


def test_a_run_that_has_been_deleted_meanwhile_is_one_line(planted: str) -> None:
    store = open_store()
    runs = read_runs(store, planted)
    gone = runs["run_id"][0]
    store.client.delete_run(gone)
    with pytest.raises(StoreError, match=f"the run {gone} has been deleted meanwhile; ask again"):
        read_provenance(store, planted, runs, ())


def test_what_a_run_says_of_its_origin_cannot_move_a_cursor(planted: str) -> None:
    store = open_store()
    run_id = read_runs(store, planted)["run_id"][0]
    store.client.set_tag(run_id, COMMIT, "c\x1b[2J")
    store.client.log_dict(run_id, {"cpu": "fast\x1b[31m", "cores": 2}, "environment.json")
    (told,) = read_provenance(store, planted, read_runs(store, planted).query("run_id == @run_id"), ())
    assert told.commit == r"c\x1b[2J"
    assert told.environment == {"cpu": r"fast\x1b[31m", "cores": 2}
