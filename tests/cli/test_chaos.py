"""A sweep under fire: its processes are killed, stopped and hung up on at random, and its files deleted, also in the
first and the last second."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tests.cli.test_resume import drop_times, read_histories
from tests.conftest import Start, slow, write_study

VARIANTS = ("conv2_3x3", "conv2_3x3_reg")
SEEDS = 3
"""At first; one more whenever all cells are done before the last kill."""
KINDS = ("training", "training", "fork server", "worker", "driver")
ACTIONS = ("kill", "kill", "kill", "stop", "hang up", "delete")
MOMENTS = ("any", "any", "first", "last")
PATIENCE = 30
STOP_SECONDS = 8  # longer than Dask's heartbeat, and than a lease's look


def tell_kind(process: psutil.Process) -> str:
    """Which of a sweep's processes it is, by the command lines of it and its parent; a fork has its parent's."""
    words, parents = process.cmdline(), process.parent().cmdline()
    if "cell" in words or "cells" in parents:
        return "training"
    if "cells" in words:
        return "fork server"
    return "worker" if any("spawn_main" in word for word in words) else "other"


def find_victims(driver: subprocess.Popen[str], kind: str) -> list[psutil.Process]:
    """The living processes of one kind."""
    try:
        process = psutil.Process(driver.pid)
        family = process.children(recursive=True)
        return [process] if kind == "driver" else [child for child in family if tell_kind(child) == kind]
    except (psutil.NoSuchProcess, AttributeError):  # one of them ended meanwhile
        return []


def await_moment(driver: subprocess.Popen[str], kind: str, dice: random.Random) -> None:
    """Wait for a process of this kind, then for some moment of its life: any, the first second, or the last."""
    moment, deadline = dice.choice(MOMENTS), time.monotonic() + PATIENCE
    while driver.poll() is None and not find_victims(driver, kind) and time.monotonic() < deadline:
        time.sleep(0.05)
    if moment == "last":  # the driver has no more to do as soon as its last training is gone
        while driver.poll() is None and find_victims(driver, "training") and time.monotonic() < deadline:
            time.sleep(0.05)
    time.sleep(dice.uniform(0, 4 if moment == "any" else 0.5))


def strike(victim: psutil.Process, action: str, folder: Path, dice: random.Random) -> None:
    """Do to a process what machines and people do."""
    if action == "stop":
        victim.suspend()
        time.sleep(dice.uniform(0, STOP_SECONDS))
        victim.resume()
    elif action == "hang up":
        victim.send_signal(signal.SIGHUP)
    else:
        victim.kill()
    if action == "delete":  # of the newest checkpoint, what a full disk or a hand might take
        for path in sorted(folder.glob("mlruns/.checkpoints/*/epoch-*"))[-1:]:
            path.unlink(missing_ok=True)


def sweep_under_fire(
    start: Callable[[int], subprocess.Popen[str]], dice: random.Random, kills: int
) -> tuple[Counter[str], int, str]:
    """Keep a sweep going and strike so many times; what was struck how, the seeds, the output of the last driver."""
    killed: Counter[str] = Counter()
    seeds = SEEDS
    driver = start(seeds)
    while killed.total() < kills:
        kind = dice.choice(KINDS)
        await_moment(driver, kind, dice)
        if driver.poll() is not None:
            said, _ = driver.communicate()
            assert not said.startswith("Error"), said
            seeds += driver.returncode == 0
            driver = start(seeds)
            continue
        action = dice.choice(ACTIONS)
        for victim in find_victims(driver, kind)[: dice.randint(1, 2)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                strike(victim, action, Path(victim.cwd()), dice)
                killed[f"{action} {kind}"] += 1
    for _ in range(5):
        output, _ = driver.communicate(timeout=900)
        if driver.returncode == 0:
            return killed, seeds, output
        driver = start(seeds)
    return killed, seeds, output


def read_finished(client: MlflowClient, name: str) -> dict[str, list[Run]]:
    """The finished runs of each cell, and under "open" those that claim to be under way."""
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    found: dict[str, list[Run]] = {"open": [run for run in runs if run.info.status == "RUNNING"]}
    for run in runs:
        if run.info.status == "FINISHED":
            found.setdefault(run.info.run_name, []).append(run)
    return found


@pytest.mark.parametrize("kills", [*slow(12), pytest.param(40, marks=pytest.mark.nightly)])
def test_a_sweep_under_fire_ends_as_an_undisturbed_one(
    project: Path, start: Start, record_property: Callable[[str, object], None], kills: int
) -> None:
    seed = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(10**6)))
    write_study(project / "chaos.toml", VARIANTS, range(kills), epochs=12)

    def start_sweep(seeds: int, **more: str) -> subprocess.Popen[str]:
        command = ("python", "-m", "pipeline", "sweep", "chaos.toml", "--workers=2", f"--seeds=0-{seeds - 1}")
        return start(*command, **more)

    killed, seeds, output = sweep_under_fire(start_sweep, random.Random(seed), kills)
    says = f"seed {seed}, {killed.total()} kills {json.dumps(killed)}, {len(VARIANTS) * seeds} cells"
    record_property("chaos", says)
    quiet = start_sweep(seeds, MLFLOW_TRACKING_URI=f"sqlite:///{project}/quiet.db")
    said, _ = quiet.communicate(timeout=900)
    assert quiet.returncode == 0, said

    client, undisturbed = (MlflowClient(f"sqlite:///{project}/{name}.db") for name in ("mlflow", "quiet"))
    cells, wanted = read_finished(client, "chaos"), read_finished(undisturbed, "chaos")
    assert {name: len(runs) for name, runs in cells.items() if name != "open"} == {
        f"{variant}-s{seed}": 1 for variant in VARIANTS for seed in range(seeds)
    }, output
    for name in cells.keys() - {"open"}:
        (run,), (other,) = cells[name], wanted[name]
        assert run.data.tags["weights.sha256"] == other.data.tags["weights.sha256"], name
        histories, others = read_histories(client, run.info.run_id), read_histories(undisturbed, other.info.run_id)
        assert drop_times(histories) == drop_times(others), name
        steps = {name: [step for step, _, _ in points] for name, points in histories.items()}
        assert all(len(set(each)) == len(each) for each in steps.values()), name

    fixed = start("python", "-m", "pipeline", "doctor", "--fix")
    said, _ = fixed.communicate(timeout=100)
    assert fixed.returncode == 0, said
    assert not read_finished(client, "chaos")["open"]
