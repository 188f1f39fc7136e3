"""`sync`: deliver what a tracking store missed while it was unreachable."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click

from pipeline.errors import StoreUnreachable
from pipeline.plain import count

if TYPE_CHECKING:
    from pipeline.tracking.store import Store


@click.command()
def sync() -> None:
    """Deliver results that the tracking store could not take.

    Runs keep on this machine whatever an unreachable store has missed. Each write is delivered once, with its
    original time. A training that was completed gets its figures and its model too.

    \b
    python -m pipeline sync
    """
    from pipeline.tracking.store import open_store
    from pipeline.tracking.write.journal import find_journals

    store = open_store()
    waiting = find_journals(store)
    failed = [run_id for run_id in waiting if not deliver_run(store, run_id)]
    click.echo(f"{len(waiting) - len(failed)} of {count(len(waiting), 'run')} delivered")
    if failed:
        raise StoreUnreachable(
            f"not delivered: {', '.join(failed)}; see above, then start `python -m pipeline sync` again"
        )


def deliver_run(store: Store, run_id: str) -> bool:
    """Deliver the journal of a run whose process is dead, and the result of a training that is whole."""
    from pipeline.tracking.write.resume import deliver_journal, is_whole

    if reason := deliver_journal(store, run_id):
        click.echo(f"run {run_id}: {reason}")
        return False
    if not is_whole(store, run_id):
        click.echo(f"run {run_id}: delivered")
        return True
    click.echo(f"run {run_id}: delivered; its figures and model follow")
    # A process of its own: the number of threads of TensorFlow is the run's.
    return subprocess.run([sys.executable, "-m", "pipeline", "train", "--resume", run_id]).returncode == 0
