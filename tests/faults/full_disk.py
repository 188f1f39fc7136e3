"""Trainings on a small disk of their own, ever less of it free; every one a fork of a process that has imported it all.

unshare -Urm python -m tests.faults.full_disk FOLDER KIB...    one JSON line a number of free KiB; 0 is read-only

Each is resumed, or trained again, once the disk has room again. Figures are left out, which take longer than the rest.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from pipeline.cli.main import main
from pipeline.tracking.store import open_store
from pipeline.workflows import train
from tests.conftest import SUBSET

DISK_KIB = 48 * 1024
OPTIONS = ("--arch=conv2_3x3_reg", "--epochs=2", "--batch-size=300", "--subset=600", f"--data={SUBSET}")


def run_command(arguments: tuple[str, ...], said: Path) -> tuple[int, str]:
    """(wait status, output) of a command in a fork."""
    said.touch()
    child = os.fork()
    if not child:
        descriptor = os.open(said, os.O_WRONLY | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(descriptor, stream)
        code = 70
        try:
            main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            sys.stdout.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said.read_text()


def prepare_store() -> None:
    """Make the tables in a fork, since no process may use a store and fork then."""
    child = os.fork()
    if not child:
        open_store()
        os._exit(0)
    os.waitpid(child, 0)


def train_with(free_kib: int, disk: Path, said: Path) -> dict[str, object]:
    """Train with so much room, then with all of it again."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k", "none", str(disk)], check=True)
    os.chdir(disk)
    os.environ.update({"MLFLOW_TRACKING_URI": f"sqlite:///{disk / 'mlflow.db'}", "TMPDIR": str(disk)})
    prepare_store()
    filler = disk / "filler"
    if free_kib:
        left = os.statvfs(disk)
        filler.write_bytes(bytes(left.f_bavail * left.f_frsize - free_kib * 1024))
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    code, output = run_command(("train", *OPTIONS), said)
    if free_kib:
        filler.unlink()
    else:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    found = re.findall(r"run (\w{32})", output)
    kept = bool(found) and any(disk.glob(f"mlruns/.checkpoints/{found[0]}/*.checkpoint"))
    again = ("train", f"--resume={found[0]}") if kept else ("train", *OPTIONS)
    second, more = (0, "") if not code else run_command(again, said)
    with closing(sqlite3.connect(disk / "mlflow.db")) as connection:
        whole = connection.execute("PRAGMA integrity_check").fetchone()[0]
    os.chdir("/")
    subprocess.run(["umount", "-l", str(disk)], check=True)
    return {"free": free_kib, "code": code, "output": output, "kept": kept, "again": second, "more": more, "db": whole}


if __name__ == "__main__":
    train.draw_figures = lambda *_: []
    folder = Path(sys.argv[1])
    (folder / "disk").mkdir()
    for number in sys.argv[2:]:
        print(json.dumps(train_with(int(number), folder / "disk", folder / "said.txt")), flush=True)
