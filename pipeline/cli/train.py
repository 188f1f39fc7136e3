"""`train`: one variant, one seed, one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline import interrupts
from pipeline.cli.options import DEFAULT, run_options
from pipeline.cli.quiet import quiet_stderr
from pipeline.errors import ResumeError
from pipeline.study.settings import Settings
from pipeline.study.variants import TABLE, VARIANTS, Variant, find_variant

if TYPE_CHECKING:  # importing them would import MLflow
    from pipeline.data.mnist import Dataset
    from pipeline.tracking.recorder import Recorder
    from pipeline.training.checkpoint import Checkpoints

NO_RUN = "none"


@click.command()
@run_options
@click.option(
    "--resume",
    default=NO_RUN,
    show_default=True,
    metavar="RUN_ID",
    help="Go on with a run that was interrupted, with the run's own settings.",
)
def train(arch: str, settings: Settings, variants: str, resume: str) -> None:
    """Train one variant and log everything to MLflow.

    \b
    python -m pipeline train --arch conv7_3x3
    python -m pipeline train --arch conv2_3x3 --epochs 3 --subset 6000
    python -m pipeline train --arch tiny_3x3 --variants my.toml --data fashion-mnist --epochs 2
    python -m pipeline train --resume 67b3025b477a4a5b8fb9337189264261
    """
    from pipeline.study.experiment import load_variants

    if resume == NO_RUN:
        train_and_record(find_variant(arch, load_variants(variants) if variants else VARIANTS), settings)
    elif variants:
        raise ResumeError(f"run {resume} knows its own variant; leave --variants out beside --resume")
    else:
        resume_and_record(resume, arch, settings)


def train_and_record(variant: Variant, settings: Settings, dataset: Dataset | None = None) -> str:
    """Train `variant`, show and log it; the run's id. The data are loaded unless they are there."""
    from pipeline.data.named import load_data
    from pipeline.tracking.freeze import freeze_declared
    from pipeline.tracking.recorder import record_run
    from pipeline.tracking.resume import locate_checkpoints
    from pipeline.tracking.store import open_store
    from pipeline.training.checkpoint import drop_checkpoints, hold_checkpoints
    from pipeline.training.fingerprint import fingerprint_training, identify_training

    interrupts.follow_launcher()
    store = open_store()
    with record_run(store, variant, settings) as recorder:
        click.echo(f"{variant.name}, seed {settings.seed}, {settings.epochs} epochs; run {recorder.run_id}")
        recorder.insist(freeze_declared, store, recorder.run_id)
        recorder.log_source(variant, settings)
        dataset = dataset or load_data(settings.data, subset=settings.subset, normalization=settings.normalization)
        recorder.log_dataset(dataset)
        recorder.log({}, {"fingerprint": fingerprint_training(variant, settings, dataset.sha256)})
        folder = locate_checkpoints(store, recorder.run_id)
        with hold_checkpoints(folder, identify_training(variant, settings, dataset.sha256)) as checkpoints:
            _train(recorder, variant, settings, dataset, checkpoints)
    drop_checkpoints(folder)
    return recorder.run_id


def resume_and_record(run_id: str, arch: str, settings: Settings, dataset: Dataset | None = None) -> None:
    """Go on with a run, show and log the rest of it; `arch` and `settings` may differ from the run's by default alone.

    The run is touched only when its checkpoint is known to be usable.
    """
    from pipeline.data.named import load_data
    from pipeline.tracking.resume import find_resumable, locate_checkpoints, resume_run
    from pipeline.tracking.store import open_store
    from pipeline.training.checkpoint import drop_checkpoints, hold_checkpoints
    from pipeline.training.fingerprint import fingerprint_training, identify_training

    interrupts.follow_launcher()
    store = open_store()
    variant, own = find_resumable(store, run_id)
    _refuse_other_options(run_id, (arch, settings), (variant.name, own))
    dataset = dataset or load_data(own.data, subset=own.subset, normalization=own.normalization)
    folder = locate_checkpoints(store, run_id)
    config = identify_training(variant, own, dataset.sha256)
    fingerprint = fingerprint_training(variant, own, dataset.sha256)
    with hold_checkpoints(folder, config) as checkpoints, resume_run(store, run_id, fingerprint) as recorder:
        click.echo(f"{variant.name}, seed {own.seed}, {own.epochs} epochs; resumes run {run_id}")
        _train(recorder, variant, own, dataset, checkpoints)
    drop_checkpoints(folder)


def _refuse_other_options(run_id: str, given: tuple[str, Settings], own: tuple[str, Settings]) -> None:
    """Raise ResumeError for an option given beside --resume that differs; `mlflow run` gives every default too."""
    default = (TABLE[0].name, DEFAULT)
    rows = [{"arch": arch, **vars(settings)} for arch, settings in (given, own, default)]
    for name in rows[0]:
        said, runs, usual = (row[name] for row in rows)
        if said not in (runs, usual):
            option = name.replace("_", "-")
            raise ResumeError(f"run {run_id} has --{option} {runs}, not {said}; leave --{option} out beside --resume")


def _train(
    recorder: Recorder, variant: Variant, settings: Settings, dataset: Dataset, checkpoints: Checkpoints
) -> None:
    """Train and log, and show how it goes."""
    from rich.console import Console

    from pipeline.cli.progress import EpochLines

    console = Console()
    click.echo(f"data {dataset.name}: {dataset.x_train.shape} training, {dataset.x_test.shape} test")
    for note in dataset.notes:
        click.echo(f"data {note}")
    with console.status("Loading TensorFlow"), quiet_stderr():
        from pipeline.training.run import train_run
        from pipeline.training.runtime import prepare_runtime

        prepare_runtime(settings.threads)
    lines = EpochLines(settings.epochs, console)
    with lines.bar:
        result = train_run(variant, settings, dataset, [recorder, lines], checkpoints)
    with console.status("Logging figures, predictions and the model"):
        from pipeline.tracking.artifacts import record_result

        record_result(recorder, variant, settings, dataset, result)
    click.echo(
        f"test loss {result.finals['final/test_loss']:.5f}, test accuracy {result.finals['final/test_accuracy']:.5f}"
    )
    click.echo(f"weights sha256 {result.weights_sha256}")
