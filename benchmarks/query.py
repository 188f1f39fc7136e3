"""How long `compare`'s query takes on a big local store, beside `mlflow.search_runs` in the same process.

    python -m benchmarks.query --runs 10000

makes a store of so many runs (copies of one real run's rows), asks both in turn and prints the ratio of medians.
"""

from __future__ import annotations

import gc
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import closing, suppress
from pathlib import Path

import click

ROUNDS = 5
TABLES = ("params", "tags", "latest_metrics")
MEMORY = """
from pathlib import Path
from pipeline.tracking.query import read_runs
from pipeline.tracking.store import open_store
store = open_store()
def read_peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024
before = read_peak()
rows = len(read_runs(store, "0"))
print(rows, before, read_peak())
"""


def make_store(folder: Path, runs: int) -> None:
    """A store in `folder` whose Default experiment holds `runs` training runs with all that the recorder logs."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
    from pipeline.study.settings import Settings
    from pipeline.study.variants import TABLE
    from pipeline.tracking.description import describe_settings, describe_variant
    from pipeline.tracking.query import FINALS
    from pipeline.tracking.recorder import record_run
    from pipeline.tracking.store import open_store

    store = open_store()
    with record_run(store, TABLE[0], Settings()) as recorder:
        recorder.log_params({**describe_settings(Settings()), **describe_variant(TABLE[0]), "data-sha256": "0" * 64})
        recorder.log(dict.fromkeys(FINALS, 0.5), {"weights.sha256": "0" * 64})
        recorder.log({f"time/{number}": 1.0 for number in range(12)}, {})
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        for _ in range(runs - 1):
            copy_run(connection, recorder.run_id, uuid.uuid4().hex)


def copy_run(connection: sqlite3.Connection, run_id: str, copy: str) -> None:
    """Insert a run with another id and the same rows."""
    for table, key in (("runs", "run_uuid"), *((table, "run_uuid") for table in TABLES)):
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        chosen = ", ".join("?" if column == key else column for column in columns)
        names = ", ".join(columns)
        connection.execute(
            f"INSERT INTO {table} ({names}) SELECT {chosen} FROM {table} WHERE {key} = ?", (copy, run_id)
        )


@click.command()
@click.option("--runs", type=click.IntRange(1), default=10_000, show_default=True)
def main(runs: int) -> None:
    """Time both queries in turn, and print medians, ratio and the memory that ours needs."""
    with tempfile.TemporaryDirectory() as folder:
        make_store(Path(folder), runs)
        import mlflow

        from pipeline.tracking.query import read_runs
        from pipeline.tracking.store import open_store

        store = open_store()
        ours, theirs = [], []
        for _ in range(ROUNDS):
            gc.collect()
            start = time.perf_counter()
            found = read_runs(store, "0")
            ours.append(time.perf_counter() - start)
            gc.collect()
            start = time.perf_counter()
            searched = mlflow.search_runs(["0"], filter_string="tags.kind = 'train'", max_results=runs)
            theirs.append(time.perf_counter() - start)
            assert len(found) == len(searched) == runs
        done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    rows, before, after = map(int, done.stdout.split())
    ratio = statistics.median(theirs) / statistics.median(ours)
    click.echo(f"{runs:,} runs, {ROUNDS} rounds in turn, Python {platform.python_version()}, {os.cpu_count()} cores")
    for name, seconds in (("read_runs", ours), ("mlflow.search_runs", theirs)):
        click.echo(f"{name:<20}{statistics.median(seconds):8.2f} s   ({min(seconds):.2f} to {max(seconds):.2f})")
    click.echo(f"ratio of medians    {ratio:8.1f}")
    click.echo(f"memory of a process: {before} MB before, {after} MB at most while it read {rows:,} runs")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
