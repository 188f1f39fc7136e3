"""`train`: one variant, one seed, one run; `replay`: whether a run repeats itself; `smoke`: whether all works here."""

from __future__ import annotations

import os
from typing import Any

import click

from pipeline.cli.options import VARIANTS_OPTION, add_options, experiment_argument, setting_option
from pipeline.cli.terminal import telling_stop
from pipeline.errors import AnalysisError, ResumeError
from pipeline.plain import count
from pipeline.study.experiment import load_variants
from pipeline.study.settings import RULES, Settings, name_option
from pipeline.study.variants import TABLE, find_variant

NO_RUN = "none"
SUBSET = "tests/mnist-subset.npz"


@click.command()
@click.option("--arch", default=TABLE[0].name, show_default=True, help="Variant to train; see `variants`.")
@VARIANTS_OPTION
@add_options(map(setting_option, RULES))
@click.option(
    "--resume",
    default=NO_RUN,
    show_default=True,
    metavar="RUN_ID",
    help="Continue an interrupted run, with its own settings.",
)
def train(arch: str, variants: str, resume: str, **values: Any) -> None:
    """Train one variant and log everything to MLflow.

    \b
    python -m pipeline train --arch conv7_3x3
    python -m pipeline train --arch conv2_3x3 --epochs 3 --subset 6000
    python -m pipeline train --arch tiny_3x3 --variants my.toml --data fashion-mnist --epochs 2
    python -m pipeline train --resume 67b3025b477a4a5b8fb9337189264261
    """
    settings = Settings(**values)
    if resume != NO_RUN and variants:
        raise ResumeError(f"run {resume} knows its own variant; leave --variants out beside --resume")
    variant = find_variant(arch, load_variants(variants)) if resume == NO_RUN else None

    from pipeline.cli.progress import EpochLines
    from pipeline.tracking.store import open_store
    from pipeline.tracking.write.resume import find_resumable
    from pipeline.workflows.train import resume_training, train_variant

    progress = EpochLines("See it in the browser: python -m pipeline ui")
    with telling_stop(progress.say_stop):
        if variant:
            train_variant(variant, settings, progress)
            return
        own = find_resumable(open_store(), resume)
        _refuse_other_options(resume, (arch, settings), (own[0].name, own[1]))
        resume_training(resume, *own, progress)


def _refuse_other_options(run_id: str, given: tuple[str, Settings], own: tuple[str, Settings]) -> None:
    """Raise ResumeError for an option given beside --resume that differs; `mlflow run` gives every default too."""
    default = (TABLE[0].name, Settings())
    rows = [{"arch": arch, **vars(settings)} for arch, settings in (given, own, default)]
    for name in rows[0]:
        said, runs, usual = (row[name] for row in rows)
        if said not in (runs, usual):
            option = name_option(name)
            raise ResumeError(f"run {run_id} has --{option} {runs}, not {said}; leave --{option} out beside --resume")


@click.command()
@experiment_argument()
@click.option("--variant", default="", metavar="NAME", help="Replay this variant; by default the quickest one.")
@setting_option("seed", default=None, help="Replay the run with this seed.")
@setting_option("epochs", default=1, help="How many epochs to retrain.")
def replay(experiment: str, variant: str, seed: int | None, epochs: int) -> None:
    """Retrain the first epochs of a finished run and compare them.

    On the same type of processor every metric must match bit for bit; elsewhere a loss may differ by a quarter of
    itself, or 0.01 nats, and an accuracy by 0.01. Otherwise the exit code is 1. Nothing is logged.

    \b
    python -m pipeline replay experiments/mnist14.toml
    python -m pipeline replay experiments/mnist14.toml --variant conv3_3x3 --seed 0 --epochs 2
    """
    from pipeline.cli.progress import EpochLines
    from pipeline.workflows.replay import replay_run

    found = replay_run(experiment, variant, seed, epochs, EpochLines())
    trained = count(found.epochs, "epoch")
    what = f"{found.variant}, seed {found.seed}, run {found.run_id}: {found.compared} metrics of {trained}"
    place = "the same type of processor" if found.same_processor else "another type of processor"
    if found.unknown:
        click.echo(f"Not compared, as the run did not log it: {', '.join(found.unknown)}", err=True)
    if not found.differences:
        click.echo(f"REPEATED bit for bit: {what}, on {place}")
    elif not found.failures:
        click.echo(f"REPEATED within the tolerance: {what}, {len(found.differences)} differ in bits, on {place}")
    else:
        first = found.failures[0]
        raise AnalysisError(
            f"NOT REPEATED: {what}, on {place}; {first.metric} of epoch {first.epoch} is {first.found!r}, "
            f"the run logged {first.logged!r}"
        )


@click.command()
def smoke() -> None:
    """Train two epochs on 2,000 images and check what was stored.

    \b
    python -m pipeline smoke
    mlflow run . -e smoke --env-manager local
    """
    from pipeline.cli.progress import EpochLines
    from pipeline.tracking.files.model import verify_run
    from pipeline.tracking.store import project_root
    from pipeline.workflows.train import train_variant

    settings = Settings(epochs=2, data=os.path.relpath(project_root() / SUBSET))
    run = train_variant(find_variant("conv2_3x3"), settings, EpochLines())
    verify_run(run.run_id, settings)
    click.echo("smoke passed: every artifact is there, and the saved model predicts what the trained one did")
