"""What a growing store costs: the query beside `mlflow.search_runs`, the commands `compare` and `report`, planning.

    python -m benchmarks.scale --seeds 72 --seeds 720 --plan 72

A store holds copies of one real run: the notebook's 14 variants with so many seeds, of 97 kinds that differ in their
metrics and keep the hashes of these. Every measurement is a process of its own; seconds are CPU seconds.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import click

from benchmarks.fixed_cost import describe_ratio
from benchmarks.measure import IN_SCALE, SUBSET, describe, divide, print_table, run_process
from pipeline.study.variants import published_variants

VARIANTS = tuple(variant.name for variant in published_variants())
EXPERIMENT = """
name = "scale"
variants = {variants}
seeds = {seeds}
settings = {{ epochs = 8, subset = 600, data = "{data}" }}
[[claims]]
name = "gap"
statement = "With dropout and L2 the train and test loss come closer to each other"
estimand = "gap"
direction = "lower"
smallest_effect = 0.005
"""
ROUNDS, QUERY_ROUNDS = 3, 5
LARGE = 50_000
"""From so many runs on, a command is measured once, and mlflow.search_runs not at all."""
KINDS = 97
"""So many different runs are copied, each with its own metrics and the hash of them."""
NOISE = f"t.value * (1 - 0.00005 * (((c.number % {KINDS}) * 7919 + t.rowid * 104729) % 1000))"
SAID = "CASE t.key WHEN 'seed' THEN c.seed WHEN 'fingerprint' THEN c.fingerprint WHEN 'mlflow.runName' THEN c.name "
SAID += "ELSE coalesce((SELECT value FROM declared AS d WHERE (d.variant, d.key) = (c.variant, t.key)), t.value) END"
REPLACED: Mapping[str, Mapping[str, str]] = {
    "runs": {"name": "c.name", "start_time": "t.start_time + c.number", "end_time": "t.end_time + c.number"},
    "params": {"value": SAID},
    "tags": {"value": SAID},
    "latest_metrics": {"value": NOISE},
    "metrics": {"value": NOISE},
}


def train_source(folder: Path) -> None:
    """Train the one real run: the first variant with seed 0."""
    settings = ("--epochs=8", "--subset=600", f"--data={SUBSET}")
    run_process(folder, "-m", "pipeline", "train", f"--arch={VARIANTS[0]}", *settings, **IN_SCALE)


def make_store(source: Path, folder: Path, seeds: int, step: int = 1) -> Path:
    """A store in `folder` with a finished run for every `step`th of so many seeds; the experiment's file."""
    with closing(sqlite3.connect(source / "mlflow.db")) as old, closing(sqlite3.connect(folder / "mlflow.db")) as new:
        old.backup(new)
    path = folder / "scale.toml"
    path.write_text(EXPERIMENT.format(variants=json.dumps(VARIANTS), seeds=list(range(seeds)), data=SUBSET))
    run_process(folder, "-m", "benchmarks.scale", "fill", str(path), str(step))
    return path


def copy_run(connection: sqlite3.Connection, run_id: str, cells: Sequence[tuple[str, ...]]) -> None:
    """Insert the rows of a run anew for each cell (variant, seed, name, fingerprint), its metrics up to 5 % lower."""
    connection.execute(
        "CREATE TEMP TABLE copies (number INTEGER PRIMARY KEY, run_uuid, variant, seed, name, fingerprint)"
    )
    rows = ((number, uuid.uuid4().hex, *cell) for number, cell in enumerate(cells, start=1))
    connection.executemany("INSERT INTO copies VALUES (?, ?, ?, ?, ?, ?)", rows)
    for table, replaced in REPLACED.items():
        connection.execute(f"CREATE TEMP TABLE source_{table} AS SELECT * FROM {table} WHERE run_uuid = ?", (run_id,))
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        chosen = (("c.run_uuid" if name == "run_uuid" else replaced.get(name, f"t.{name}")) for name in names)
        connection.execute(
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(chosen)} "
            f"FROM copies AS c CROSS JOIN source_{table} AS t ORDER BY c.number"
        )


def keep_hashes(connection: sqlite3.Connection, place: Path) -> None:
    """Give each kind of copies a folder with the files of the real run and the hashes of what its runs now say."""
    from pipeline.study.tags import HASHES_SHA256
    from pipeline.tracking.files.hashes import FILE, read_hashes
    from pipeline.tracking.store import open_store

    store = open_store()
    for kind in range(KINDS):
        found = connection.execute(f"SELECT run_uuid FROM copies WHERE number % {KINDS} = ?", (kind,)).fetchall()
        if not found:
            continue
        run, folder = store.client.get_run(found[0][0]), place / "kinds" / str(kind)
        shutil.copytree(run.info.artifact_uri, folder, copy_function=os.link, ignore=shutil.ignore_patterns(FILE))
        text = json.dumps(read_hashes(store, run.info), sort_keys=True)
        (folder / FILE).write_text(text)
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        connection.executemany(
            "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", ((str(folder), *run) for run in found)
        )
        connection.executemany(
            f"UPDATE tags SET value = ? WHERE key = '{HASHES_SHA256}' AND run_uuid = ?",
            ((sha256, *run) for run in found),
        )


def describe_growth(values: Sequence[float], before: Sequence[float]) -> str:
    """The factor of the medians; a dash where there is none before."""
    return f"x {divide(values, before):.1f}" if before else "-"


def measure_query(folders: Mapping[int, Path]) -> None:
    """Both queries in turn at each size, each in a fresh process that has asked an empty experiment before."""
    rows: list[Sequence[str]] = []
    before: tuple[list[float], list[float]] = [], []
    for runs, folder in folders.items():
        seconds: dict[str, list[float]] = {"ours": [], "mlflow": []}
        peaks: dict[str, list[float]] = {"ours": [], "mlflow": []}
        for _ in range(QUERY_ROUNDS):
            for who in ("ours",) if runs >= LARGE else ("ours", "mlflow"):
                spent = run_process(folder, "-m", "benchmarks.scale", "ask", who, **IN_SCALE)
                found, cpu = json.loads(spent.output.splitlines()[-1])
                assert found == runs, f"{who} found {found} of {runs} runs"
                seconds[who].append(cpu)
                peaks[who].append(spent.peak)
        ours, theirs = seconds.values()
        growth = [describe_growth(*each) for each in zip((ours, peaks["ours"]), before, strict=True)]
        row = (f"{runs:,}", describe(ours), growth[0], describe(theirs), describe_ratio(theirs, ours))
        rows.append((*row, describe(peaks["ours"], 0), growth[1], describe(peaks["mlflow"], 0)))
        before = ours, peaks["ours"]
    head = ("runs", "read_runs (s)", "growth", "search_runs (s)", "search_runs / read_runs")
    print_table((*head, "read_runs (MB)", "growth", "search_runs (MB)"), rows)


def measure_command(folders: Mapping[int, Path], name: str) -> list[Sequence[str]]:
    """A row for each size: a whole command in fresh processes."""
    rows: list[Sequence[str]] = []
    before: tuple[list[float], list[float]] = [], []
    for runs, folder in folders.items():
        rounds = 1 if runs >= LARGE else ROUNDS
        spent = [run_process(folder, "-m", "pipeline", name, str(folder / "scale.toml")) for _ in range(rounds)]
        cpu, peak = [each.cpu for each in spent], [each.peak for each in spent]
        growth = [describe_growth(*each) for each in zip((cpu, peak), before, strict=True)]
        rows.append((name, f"{runs:,}", str(rounds), describe(cpu), growth[0], describe(peak, 0), growth[1]))
        before = cpu, peak
    return rows


@click.group(invoke_without_command=True)
@click.option("--seeds", "sizes", multiple=True, default=(72, 720, 7200), show_default=True)
@click.option("--plan", "planned", default=720, show_default=True, help="Seeds of the experiment that is planned.")
@click.pass_context
def main(context: click.Context, sizes: tuple[int, ...], planned: int) -> None:
    """Measure stores of 14 runs a seed, and print GitHub tables."""
    if context.invoked_subcommand:
        return
    click.echo(
        f"Stores of {len(VARIANTS)} variants x {', '.join(map(str, sizes))} seeds: copies of one real run of 8 "
        "epochs, their metrics up to 5 % lower. All seconds are CPU seconds; growth is against the row above.\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folders = {len(VARIANTS) * seeds: Path(name) / str(seeds) for seeds in sizes}
        for place in (source := Path(name) / "source", half := Path(name) / "half", *folders.values()):
            place.mkdir()
        train_source(source)
        for seeds, folder in zip(sizes, folders.values(), strict=True):
            make_store(source, folder, seeds)
        click.echo(
            "`read_runs`, by which every command reads an experiment's runs, and `mlflow.search_runs`, each in a fresh "
            f"process that has asked before, in turn; n = {QUERY_ROUNDS}. MB of the whole process at its peak."
        )
        measure_query(folders)
        make_store(source, half, planned, step=2)
        commands = {"compare": folders, "report": folders, "plan": {len(VARIANTS) * planned: half}}
        rows = [row for command, places in commands.items() for row in measure_command(places, command)]
        click.echo(
            "Whole commands, with import, start and the logging of what they say to MLflow; `plan` of an experiment of "
            "so many cells, half of them done."
        )
        print_table(("command", "runs or cells", "n", "CPU s", "growth", "peak MB", "growth"), rows)


@main.command(hidden=True)
@click.argument("seeds", type=int)
def make(seeds: int) -> None:
    """Make a store with so many seeds in the current folder."""
    source = Path.cwd() / "source"
    source.mkdir()
    train_source(source)
    make_store(source, Path.cwd(), seeds)


@main.command(hidden=True)
@click.argument("path", type=Path)
@click.argument("step", type=int)
def fill(path: Path, step: int) -> None:
    """Copy the store's one run into every STEPth seed's cells of an experiment."""
    from pipeline.study.experiment import load_experiment
    from pipeline.study.facts import describe_variant
    from pipeline.training.fingerprint import fingerprint_training

    experiment = load_experiment(path)
    rows = [experiment.table[name] for name in experiment.variants]
    with closing(sqlite3.connect(path.with_name("mlflow.db"), isolation_level=None)) as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2000000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        run_id, sha256 = connection.execute("SELECT run_uuid, value FROM params WHERE key = 'data-sha256'").fetchone()
        connection.execute("CREATE TEMP TABLE declared (variant, key, value, PRIMARY KEY (variant, key))")
        for row in rows:
            facts = {**describe_variant(row), "variant": row.name, "twin": row.twin or "none"}
            told = [(row.name, name, str(value)) for name, value in facts.items()]
            connection.executemany("INSERT INTO declared VALUES (?, ?, ?)", told)
        cells = []
        for seed, row in itertools.product(experiment.seeds[::step], rows):
            fingerprint = fingerprint_training(row, replace(experiment.settings, seed=seed), sha256)
            cells.append((row.name, str(seed), f"{row.name}-s{seed}", fingerprint))
        copy_run(connection, run_id, cells[1:])  # the first cell is the real run itself
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN")
        keep_hashes(connection, path.parent)
        connection.execute("COMMIT")


@main.command(hidden=True)
@click.argument("who")
def ask(who: str) -> None:
    """Ask for all runs, and print their number and the CPU seconds that it took."""
    import mlflow

    from pipeline.tracking.runs import read_runs
    from pipeline.tracking.store import find_experiment, open_store

    store = open_store()
    for experiment_id in ("0", find_experiment(store)):  # the first is empty: what is imported late is imported now
        began = time.process_time()
        if who == "ours":
            found = read_runs(store, experiment_id)
        else:
            found = mlflow.search_runs([experiment_id], filter_string="tags.kind = 'train'", max_results=10**6)
        seconds = time.process_time() - began
    click.echo(json.dumps([len(found), seconds]))


if __name__ == "__main__":
    main()
