"""Processes that open the same empty store at the same moment: each is a fork of one that has imported everything.

python -m tests.rig.first_use URI...    for each URI four processes; prints what each got, one a line
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from multiprocessing.synchronize import Barrier

from pipeline.errors import StoreError
from pipeline.tracking.store import find_experiment, open_store

PROCESSES = 4


def open_together(uri: str, barrier: Barrier) -> None:
    """Wait for the others, then open the store and ask for the same new experiment."""
    os.environ["MLFLOW_TRACKING_URI"] = uri
    barrier.wait(60)
    try:
        said = find_experiment(open_store(), "study", create=True)
    except StoreError as error:
        said = f"Error: {error}"
    os.write(1, f"{said}\n".encode())  # whole: where PYTHONUNBUFFERED is set, print writes the line end by itself


def main(uris: list[str]) -> None:
    """For each URI start the processes and wait for them; this process itself opens no store."""
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: no thread of ours is in a lock at this moment
    context = multiprocessing.get_context("fork")
    for uri in uris:
        barrier = context.Barrier(PROCESSES)
        processes = [context.Process(target=open_together, args=(uri, barrier)) for _ in range(PROCESSES)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(180)


if __name__ == "__main__":
    main(sys.argv[1:])
