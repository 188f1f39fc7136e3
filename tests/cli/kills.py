"""Trainings that are killed and resumed, one JSON line each; every one a fork of a process that has imported it all.

    python -m tests.cli.kills sweep          a kill at the first, the second, ... fault point until none is left
    python -m tests.cli.kills random COUNT   trainings, each killed up to three times, until COUNT kills

The first line is of a training that nobody disturbs. Figures are left out, which take longer than the rest.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import pipeline.training.run  # noqa: F401  before the first fork
from pipeline.cli.main import main
from pipeline.tracking.mlflow_internals import find_packages
from pipeline.training import checkpoint
from pipeline.workflows import train
from tests.conftest import SUBSET

EPOCHS = {"sweep": 2, "random": 4}
OPTIONS = ("--arch=conv2_3x3_reg", f"--epochs={EPOCHS[sys.argv[1]]}", "--subset=600", f"--data={SUBSET}")
OUTPUT = Path("output.txt")


def run_command(arguments: tuple[str, ...], fault: str, seconds: float) -> bool:
    """Run a command in a fork, killed by a fault or at some moment (0 for never); whether it was killed."""
    OUTPUT.unlink(missing_ok=True)
    OUTPUT.touch()
    child = os.fork()
    if not child:
        descriptor = os.open(OUTPUT, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(descriptor, stream)
        os.environ["FAULT"] = fault
        try:
            main(arguments)
        finally:
            sys.stdout.flush()
            os._exit(0)
    return wait_and_kill(child, seconds)


def wait_and_kill(child: int, seconds: float) -> bool:
    """Wait for a training, or kill it some seconds after it has a checkpoint; whether it died of a kill."""
    began = 0.0
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.WIFSIGNALED(status)
        if seconds and not began and re.search("^(epoch|goes on)", OUTPUT.read_text(), re.MULTILINE):
            began = time.monotonic()
        if began and time.monotonic() - began > seconds:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)


def train_through(faults: list[str], moments: list[float]) -> int:
    """Train under these faults and kills, one after the other, then to the end; the number of kills."""
    arguments, run_id, kills = ("train", *OPTIONS), "", 0
    for fault, seconds in [*itertools.zip_longest(faults, moments), ("", 0)]:
        killed = run_command(arguments, fault or "", seconds or 0)
        output = OUTPUT.read_text()
        kills += killed
        run_id = run_id or "".join(re.findall(r"run (\w{32})", output)[:1])
        if not killed or not run_id:
            break
        arguments = ("train", f"--resume={run_id}")
    report(run_id, kills, output)
    return kills


def report(run_id: str, kills: int, output: str) -> None:
    """Print the line of a training that has ended: what it left, or that it was refused for want of a checkpoint."""
    state = ""
    for path in checkpoint.find_checkpoints(Path("mlruns/.checkpoints") / run_id)[:1]:
        arrays = checkpoint.decode_checkpoint(path.read_bytes()).arrays
        state = hashlib.sha256(b"".join(name.encode() + arrays[name].tobytes() for name in arrays)).hexdigest()
    refused = not run_id or "has no checkpoint on this machine" in output
    if not refused and not re.search("weights sha256|has finished; there is nothing to resume", output):
        sys.exit(output)
    print(json.dumps({"run": run_id, "kills": kills, "state": state, "refused": refused}), flush=True)


def leave_out() -> None:
    """Skip the figures, keep the last checkpoint for its optimiser state, and do once what every fork would do."""
    train.draw_figures = lambda *_: []
    train._ViolinImages.show_kernels = lambda *_: None  # type: ignore[method-assign]
    train.drop_checkpoints = lambda _folder: None
    find_packages()


if __name__ == "__main__":
    leave_out()
    train_through([], [])
    if sys.argv[1] == "sweep":
        count = 1
        while train_through([f"any:{count}:kill"], []):
            count += 1
    else:
        random.seed(int(sys.argv[2]))
        kills = 0
        while kills < int(sys.argv[2]):  # a quick machine ends some trainings before their moments
            kills += train_through([], [random.uniform(0.01, 1.5) for _ in range(3)])
