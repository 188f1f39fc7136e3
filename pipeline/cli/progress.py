"""How a training shows itself: a live bar on a terminal, one plain line per epoch in a log."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.training.observer import Epoch, Observer


class EpochLines(Observer):
    """Prints one line per epoch, with a live bar over the batches where the console is a terminal."""

    def __init__(self, epochs: int, console: Console) -> None:
        self.epochs = epochs
        self.console = console
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("epoch 1", total=None)

    def resume_training(self, epochs: Sequence[Epoch], refused: Sequence[str]) -> None:
        """Say which checkpoints could not be used, and where the training goes on."""
        for reason in refused:
            self.console.print(f"refused: {reason}", highlight=False, soft_wrap=True)
        self.console.print(f"goes on after epoch {len(epochs)}/{self.epochs}", highlight=False)

    def end_batch(self, epoch: int, batch: int, batches: int) -> None:
        """Move the bar."""
        self.bar.update(self.task, description=f"epoch {epoch}/{self.epochs}", completed=batch, total=batches)

    def end_epoch(self, epoch: int, metrics: dict[str, float], ended: int) -> None:
        """Print the epoch's line."""
        self.console.print(describe_epoch(epoch, self.epochs, metrics), highlight=False, soft_wrap=True)


def describe_epoch(epoch: int, epochs: int, metrics: dict[str, float]) -> str:
    """One epoch in one line."""
    return (
        f"epoch {epoch:>{len(str(epochs))}}/{epochs}"
        f"  train loss {metrics['train/loss']:.4f}  accuracy {metrics['train/accuracy']:.4f}"
        f"  test loss {metrics['test/loss']:.4f}  accuracy {metrics['test/accuracy']:.4f}"
        f"  honest gap {metrics['gap/honest']:+.4f}  {metrics['time/epoch_seconds']:.1f} s"
    )
