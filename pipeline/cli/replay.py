"""`replay`: whether a recorded run repeats itself here."""

from __future__ import annotations

import click

from pipeline.cli.early import experiment_argument
from pipeline.cli.options import Number
from pipeline.errors import AnalysisError
from pipeline.plain import count


@click.command()
@experiment_argument()
@click.option("--variant", default="", metavar="NAME", help="Replay this variant; else the quickest one.")
@click.option("--seed", type=Number(0, 2**31 - 1), help="Replay the run of this seed.")
@click.option("--epochs", type=Number(1, 10_000), default=1, show_default=True, help="How many epochs to train again.")
def replay(experiment: str, variant: str, seed: int | None, epochs: int) -> None:
    """Train the first epochs of a finished run of EXPERIMENT again, and compare every metric with what it logged.

    On the run's own type of processor every metric must be the same bit for bit; elsewhere a loss may differ by a
    quarter of itself, or 0.01 nats, and an accuracy by 0.01. Exit code 1 if it is not so. Nothing is logged.

    \b
    python -m pipeline replay experiments/mnist14.toml
    python -m pipeline replay experiments/mnist14.toml --variant conv3_3x3 --seed 0 --epochs 2
    """
    from pipeline.cli.progress import EpochLines
    from pipeline.workflows.replay import replay_run

    found = replay_run(experiment, variant, seed, epochs, EpochLines())
    what = f"{found.variant}, seed {found.seed}, run {found.run_id}: {found.compared} metrics of {count(found.epochs, 'epoch')}"
    place = "the same type of processor" if found.same_processor else "another type of processor"
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
