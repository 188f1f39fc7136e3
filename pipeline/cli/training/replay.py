"""`replay`: whether a recorded run repeats itself here."""

from __future__ import annotations

import click

from pipeline.cli.early import experiment_argument
from pipeline.cli.options import Number
from pipeline.errors import AnalysisError
from pipeline.plain import count


@click.command()
@experiment_argument()
@click.option("--variant", default="", metavar="NAME", help="Replay this variant; by default the quickest one.")
@click.option("--seed", type=Number(0, 2**31 - 1), help="Replay the run with this seed.")
@click.option("--epochs", type=Number(1, 10_000), default=1, show_default=True, help="How many epochs to retrain.")
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
    elif found.holds:
        click.echo(f"REPEATED within the tolerance: {what}, {len(found.differences)} differ in bits, on {place}")
    else:
        first = (found.differences if found.same_processor else found.beyond)[0]
        raise AnalysisError(
            f"NOT REPEATED: {what}, on {place}; {first.metric} of epoch {first.epoch} is {first.found!r}, "
            f"the run logged {first.logged!r}"
        )
