"""`train`: one variant, one seed, one run."""

from __future__ import annotations

import click

from pipeline import interrupts
from pipeline.cli.options import run_options
from pipeline.cli.quiet import quiet_stderr
from pipeline.study.settings import Settings
from pipeline.study.variants import Variant, find_variant


@click.command()
@run_options
def train(arch: str, settings: Settings) -> None:
    """Train one variant and log everything to MLflow.

    \b
    python -m pipeline train --arch conv7_3x3
    python -m pipeline train --arch conv2_3x3 --epochs 3 --subset 6000
    """
    train_and_record(find_variant(arch), settings)


def train_and_record(variant: Variant, settings: Settings) -> str:
    """Train `variant`, show and log it; the run's id."""
    from rich.console import Console

    from pipeline.cli.progress import EpochLines
    from pipeline.data.mnist import load_mnist
    from pipeline.tracking.recorder import record_run
    from pipeline.tracking.store import open_store

    console = Console()
    interrupts.follow_launcher()
    store = open_store()
    with record_run(store, variant, settings) as recorder:
        click.echo(f"{variant.name}, seed {settings.seed}, {settings.epochs} epochs; run {recorder.run_id}")
        dataset = load_mnist(settings.data, subset=settings.subset, normalization=settings.normalization)
        click.echo(f"data {dataset.name}: {dataset.x_train.shape} training, {dataset.x_test.shape} test")
        recorder.log_source(variant, settings)
        recorder.log_dataset(dataset)
        with console.status("Loading TensorFlow"), quiet_stderr():
            from pipeline.training.run import train_run
            from pipeline.training.runtime import prepare_runtime

            prepare_runtime(settings.threads)
        lines = EpochLines(settings.epochs, console)
        with lines.bar:
            result = train_run(variant, settings, dataset, [recorder, lines])
        with console.status("Logging figures, predictions and the model"):
            from pipeline.tracking.artifacts import record_result

            record_result(recorder, variant, settings, dataset, result)
    click.echo(
        f"test loss {result.finals['final/test_loss']:.5f}, test accuracy {result.finals['final/test_accuracy']:.5f}"
    )
    click.echo(f"weights sha256 {result.weights_sha256}")
    return recorder.run_id
