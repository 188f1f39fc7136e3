"""What the doctor finds on this machine beside the store: checkpoints, journals, claims."""

from __future__ import annotations

import json
import os
from pathlib import Path

from filelock import FileLock

from pipeline.sweep.doctor import find_faults
from pipeline.tracking.process import identify_process
from pipeline.tracking.store import Store, find_experiment
from pipeline.tracking.write.resume import locate_checkpoints
from pipeline.tracking.write.survey import survey_store
from tests.sweep.sick import (
    check_fixed,
    check_left,
    complete,
    diagnose,
    make_checkpoints,
    plant,
    plant_launched,
    plant_running,
    read_end,
    set_tags,
)
from tests.tracking.planted import plant_journal


def test_checkpoints_of_a_finished_run_are_removed(store: Store, study: str, dead: dict[str, str]) -> None:
    run_id = plant(store, dead)
    folder = make_checkpoints(store, run_id)
    with FileLock(folder / ".lock"):
        check_left(study, 1)
    check_fixed(study, f"checkpoints of {run_id}: their run is finished", "folder removed")
    assert not folder.exists()


def test_a_living_process_removes_its_own_checkpoints(store: Store, study: str) -> None:
    folder = make_checkpoints(store, plant(store, identify_process()))
    check_left(study, 1)
    assert [path.name for path in folder.iterdir()] == ["epoch-00001.checkpoint"]


def test_checkpoints_of_a_deleted_run_are_removed(store: Store, study: str, dead: dict[str, str]) -> None:
    run_id = plant(store, dead, outcome="killed")
    store.client.set_terminated(run_id, "KILLED")
    folder = make_checkpoints(store, run_id)
    check_left(study, 1)
    store.client.delete_run(run_id)
    check_fixed(study, f"checkpoints of {run_id}: their run is deleted", "folder removed")
    assert not folder.exists()


def test_half_a_checkpoint_is_removed_and_the_whole_one_kept(store: Store, study: str, dead: dict[str, str]) -> None:
    run_id = plant(store, dead, outcome="killed")
    store.client.set_terminated(run_id, "KILLED")
    folder = make_checkpoints(store, run_id, half=True)
    with FileLock(folder / ".lock"):
        check_left(study, 1)
    check_fixed(study, f"checkpoints of {run_id}: a process died while it wrote epoch-00002.unfinished", "file removed")
    assert [path.name for path in folder.glob("epoch*")] == ["epoch-00001.checkpoint"]


def test_checkpoints_of_a_strange_run_are_removed_when_they_are_old(store: Store, folder: Path) -> None:
    young, old = make_checkpoints(store, "1" * 32), make_checkpoints(store, "2" * 32)
    cells = locate_checkpoints(store, "cells")
    cells.mkdir()
    for path in (old / "epoch-00001.checkpoint", old, cells):
        os.utime(path, (0, 0))
    _, lines = diagnose("", "--fix")
    assert f"checkpoints of {old.name}: their run is not in the store; fixed: folder removed" in lines
    assert (young.exists(), old.exists(), cells.exists()) == (True, False, True)


def test_an_undelivered_journal_of_a_dead_process_is_delivered_and_its_run_ended(
    store: Store, study: str, dead: dict[str, str]
) -> None:
    run_id = plant_running(store, dead)
    text = '{"metrics": [["test/loss", 0.5, 1000, 1]], "tags": {"epoch": "1"}}\n'
    journal = plant_journal(store, run_id, text)
    set_tags(store, run_id, **identify_process())
    check_left(study, 1)
    set_tags(store, run_id, **dead)
    here = f"its process {dead['pid']} on {dead['host']}"
    lines = [
        f"run {run_id}: not fully delivered to the store; fixed: delivered",
        f"run {run_id}: runs, but {here} died; fixed: ended as killed, which a sweep or `train --resume` goes on from",
        "2 found, 2 fixed",
    ]
    assert diagnose(study, "--fix") == (0, lines)  # once is enough
    assert not journal.exists()
    run = store.client.get_run(run_id)
    assert (run.data.metrics["test/loss"], run.data.tags["epoch"], run.info.status) == (0.5, "1", "KILLED")
    check_left(study, 1)


def test_a_journal_may_hold_that_a_run_was_taken_up(store: Store, study: str) -> None:
    run_id = plant_launched(store, study, hours=2)
    text = '{"metrics": [], "tags": {"kind": "train", "outcome": "killed", "outcome.reason": "SIGTERM"}}\n'
    plant_journal(store, run_id, text)
    assert diagnose(study, "--fix")[1][-1] == "2 found, 2 fixed"  # delivered, and the status set that it says
    assert read_end(store, run_id)[1:] == ("killed", "SIGTERM")


def test_a_claim_of_a_dead_process_is_removed(store: Store, study: str, dead: dict[str, str]) -> None:
    experiment_id = find_experiment(store, study)
    store.client.set_experiment_tag(experiment_id, "lease.aa.1", json.dumps({**dead, "held": "yes"}))
    store.client.set_experiment_tag(experiment_id, "lease.bb.2", json.dumps({**identify_process(), "held": "yes"}))
    check_fixed(
        study, f"experiment {study}: lease.aa.1 is of process {dead['pid']} on {dead['host']}, which died", "removed"
    )
    store.client.set_experiment_tag(experiment_id, "lease.cc.3", "no claim")
    check_fixed(study, f"experiment {study}: lease.cc.3 is of nobody", "removed")
    assert {key for key in store.client.get_experiment(experiment_id).tags if "lease" in key} == {"lease.bb.2"}


def test_what_came_back_to_life_before_it_is_fixed_is_left(store: Store, study: str, dead: dict[str, str]) -> None:
    experiment_id, same = find_experiment(store, study), {"fingerprint": "f1", "weights__sha256": "a" * 64}
    store.client.set_experiment_tag(experiment_id, "lease.aa.1", json.dumps(dead))
    run_id, launched = plant_running(store, dead), plant_launched(store, study, hours=2)
    older, newest = plant(store, dead, **same), plant(store, dead, **same)
    torn = plant(store, dead, whole=False)
    halves = make_checkpoints(store, run_id, half=True)
    needless = make_checkpoints(store, older)
    findings = list(find_faults(survey_store(store, study)))
    assert len(findings) == 7
    store.client.set_experiment_tag(experiment_id, "lease.aa.1", json.dumps(identify_process()))
    set_tags(store, run_id, **identify_process())
    set_tags(store, launched, kind="train", outcome="running", **identify_process())
    set_tags(store, newest, weights__sha256="b" * 64)
    complete(store, torn)
    with FileLock(halves / ".lock"), FileLock(needless / ".lock"):
        assert [finding.fix and finding.fix() for finding in findings] == [False] * 7
    assert [read_end(store, each)[0] for each in (run_id, launched, torn)] == ["RUNNING", "RUNNING", "FINISHED"]
    assert store.client.get_run(older).info.lifecycle_stage == "active"
    assert (len(list(halves.glob("epoch*"))), needless.exists()) == (2, True)
