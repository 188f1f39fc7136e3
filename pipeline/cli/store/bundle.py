"""`bundle`: carry an experiment's runs from one store to another in one file."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import FILE, SEEDS, experiment_argument, name_experiment
from pipeline.plain import count
from pipeline.private import name_file
from pipeline.study.experiment import parse_seeds


@click.group()
def bundle() -> None:
    """Move an experiment's runs between tracking stores as one file.

    \b
    python -m pipeline bundle export experiments/matched.toml matched.zip
    python -m pipeline bundle import matched.zip
    """


@bundle.command("export")
@experiment_argument()
@click.argument("file", type=FILE)
@click.option("--all", "every", is_flag=True, help="Also export stopped and failed runs.")
@click.option("--evidence", is_flag=True, help="Only what the verdicts need: no models, no figures.")
@SEEDS
def export_bundle(experiment: str, file: Path, every: bool, evidence: bool, seeds: str) -> None:
    """Write the finished runs of EXPERIMENT into FILE.

    All their metrics, artifacts and models are included. EXPERIMENT is the name of an MLflow experiment or a file
    from experiments/. The same runs always give the same bytes. Evidence is small and names no machine: params,
    metrics, hashes, predictions, config and environment.

    \b
    python -m pipeline bundle export experiments/matched.toml matched.zip
    python -m pipeline bundle export experiments/twins.toml twins-seed00.zip --evidence --seeds 0
    """
    from pipeline.tracking.bundle.archive import BundleWriter
    from pipeline.tracking.bundle.export_runs import Wanted, export_experiment
    from pipeline.tracking.bundle.manifest import BundleError
    from pipeline.tracking.store import open_store

    wanted = Wanted(every=every, evidence=evidence, seeds=parse_seeds(seeds) if seeds else None)
    if file.exists():
        raise BundleError(f"{file} already exists; remove it or choose another name")
    name = name_experiment(experiment)
    part = file.with_name(f"{file.name}.unfinished")
    try:
        with name_file(part), part.open("w+b") as stream, BundleWriter(stream) as writer:
            manifest = export_experiment(open_store(), name, writer, wanted)
            seal = writer.finish(manifest)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    runs, files = len(manifest.runs), len(manifest.files)
    click.echo(f'{file}: {count(runs, "run")} of "{manifest.experiment}", {count(files, "file")}; sha256 {seal}')


@bundle.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@click.option("--into", default="", metavar="NAME", help="Import into this experiment instead of the bundle's own.")
def import_bundle(files: tuple[Path, ...], into: str) -> None:
    """Add the runs of each FILE that this store does not have yet.

    Each file is verified completely before anything is written, and no model in it is loaded. A run counts as
    present if it was imported before, or if its cell has finished here with the same weights. An interrupted import
    can simply be started again.

    \b
    python -m pipeline bundle import matched.zip
    python -m pipeline bundle import experiments/results/*.zip
    """
    for file in files:
        file.stat()  # refuses one that is not there before any is imported

    from pipeline.tracking.bundle import import_runs as transfer
    from pipeline.tracking.bundle.archive import open_bundle
    from pipeline.tracking.store import open_store

    for file in files:
        new = there = 0
        with open_bundle(file) as reader:
            for run, run_id, is_new in transfer.import_bundle(open_store(), reader, into):
                new, there = new + is_new, there + (not is_new)
                click.echo(f"{run.name}: {'run' if is_new else 'already there as run'} {run_id}")
            click.echo(f'"{into or reader.manifest.experiment}": {count(new, "run")} imported, {there} already there')
