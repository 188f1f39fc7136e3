"""`train`: one variant, one seed, one run."""

from __future__ import annotations

import click

from pipeline.cli.options import DEFAULT, run_options
from pipeline.cli.stop import telling_stop
from pipeline.errors import ResumeError
from pipeline.study.settings import Settings, name_option
from pipeline.study.variants import TABLE, VARIANTS, find_variant

NO_RUN = "none"


@click.command()
@run_options
@click.option(
    "--resume",
    default=NO_RUN,
    show_default=True,
    metavar="RUN_ID",
    help="Continue an interrupted run, with its own settings.",
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

    if resume != NO_RUN and variants:
        raise ResumeError(f"run {resume} knows its own variant; leave --variants out beside --resume")
    variant = find_variant(arch, load_variants(variants) if variants else VARIANTS) if resume == NO_RUN else None

    from pipeline.cli.progress import EpochLines
    from pipeline.workflows.train import find_interrupted, resume_training, train_variant

    progress = EpochLines("See it in the browser: python -m pipeline ui")
    with telling_stop(progress.say_stop):
        if variant:
            train_variant(variant, settings, progress)
            return
        interrupted = find_interrupted(resume)
        _refuse_other_options(resume, (arch, settings), (interrupted.variant.name, interrupted.settings))
        resume_training(interrupted, progress)


def _refuse_other_options(run_id: str, given: tuple[str, Settings], own: tuple[str, Settings]) -> None:
    """Raise ResumeError for an option given beside --resume that differs; `mlflow run` gives every default too."""
    default = (TABLE[0].name, DEFAULT)
    rows = [{"arch": arch, **vars(settings)} for arch, settings in (given, own, default)]
    for name in rows[0]:
        said, runs, usual = (row[name] for row in rows)
        if said not in (runs, usual):
            option = name_option(name)
            raise ResumeError(f"run {run_id} has --{option} {runs}, not {said}; leave --{option} out beside --resume")
