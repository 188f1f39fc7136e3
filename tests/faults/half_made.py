"""Processes killed while they make a store's tables, then another try: each a fork of one that has imported it all.

python -m tests.faults.half_made FRACTION...    kills at these fractions of the time that nobody disturbs needs
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from mlflow.store.db.utils import _upgrade_db, create_sqlalchemy_engine

from pipeline.errors import StoreError
from pipeline.tracking.store import open_store

SECONDS = 120


def open_in_fork(folder: Path, seconds: float) -> tuple[bool, float, str]:
    """Open the store of a folder in a fork; (was it killed, seconds, the error it wrote)."""
    said = folder / "said.txt"
    said.write_text("")
    began = time.monotonic()
    child = os.fork()
    if not child:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
        try:
            open_store()
        except StoreError as error:
            said.write_text(str(error))
        finally:
            os._exit(0)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.WIFSIGNALED(status), time.monotonic() - began, said.read_text()
        if time.monotonic() - began > seconds:
            os.kill(child, signal.SIGKILL)
            seconds = SECONDS
        time.sleep(0.002)


def try_again(folder: Path) -> str:
    """What becomes of a half-made store at the next start."""
    _, _, error = open_in_fork(folder, SECONDS)
    if not error:
        return "opened"
    if "mlflow db upgrade" in error:
        _upgrade_db(create_sqlalchemy_engine(f"sqlite:///{folder / 'mlflow.db'}"))  # what that command does
        _, _, error = open_in_fork(folder, SECONDS)
        if not error:
            return "opened after what the error said"
    return error


def main(fractions: list[str]) -> None:
    """Measure one undisturbed start, then kill others and start again; one line each."""
    Path("whole").mkdir()
    _, whole, error = open_in_fork(Path("whole"), SECONDS)
    assert not error, error
    for fraction in fractions:
        folder = Path(fraction)
        folder.mkdir()
        killed, _, _ = open_in_fork(folder, whole * float(fraction))
        print(f"{fraction} {'killed' if killed else 'too late'}: {try_again(folder)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
