"""How a training shows itself: a live bar on a terminal, one plain line per epoch in a log."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.training.observer import Epoch, Observer

if TYPE_CHECKING:  # importing them would import MLflow and Dask
    from pipeline.sweep.cells import Cell
    from pipeline.sweep.execute import CellReport
    from pipeline.sweep.sweep import Sweep

LOOK_SECONDS = 2.0


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


class CellLines(AbstractContextManager["CellLines"]):
    """Prints one line per cell that ends; on a terminal also live bars: the sweep, and each cell under way by epoch."""

    def __init__(self, sweep: Sweep, cells: Sequence[Cell]) -> None:
        from pipeline.sweep.estimate import count_cell_work

        self.sweep, self.cells = sweep, {cell.name: cell for cell in cells}
        self.work = {cell.name: count_cell_work(cell) for cell in cells}
        self.ended: list[str] = []
        self.console = Console()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[says]}"),
            TimeRemainingColumn(),
        )
        live = self.console.is_terminal
        self.bars = Progress(
            *columns, console=self.console, transient=True, disable=not live, speed_estimate_period=600
        )
        self.whole = self.bars.add_task("cells", total=sum(self.work.values()) or None, says=f"0/{len(cells)}")
        self.tasks = {cell.name: self.bars.add_task(cell.name, visible=False, says="") for cell in cells}
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._look_on, daemon=True) if live else None

    def __enter__(self) -> CellLines:
        self.bars.start()
        if self.thread:
            self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        if self.thread:
            self.thread.join()
        self.bars.stop()

    def end_cell(self, report: CellReport) -> None:
        """Print the cell's line."""
        self.ended.append(report.name)
        line = f"{len(self.ended)}/{len(self.cells)}  {report.name:<28}{report.seconds:7.1f} s  {report.message}"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _look_on(self) -> None:
        """Ask the store how far the cells are, again and again; workers may be on any machine."""
        from pipeline.tracking.runs import read_running

        while not self.closed.wait(LOOK_SECONDS):
            running = read_running(self.sweep.store, self.sweep.experiment_id)
            self._show({name: running[name] for name in running if name in self.cells and name not in self.ended})

    def _show(self, running: dict[str, tuple[int, float]]) -> None:
        """Move the bars."""
        done = sum(self.work[name] for name in self.ended)
        for name, (epoch, accuracy) in running.items():
            epochs = self.cells[name].settings.epochs
            says = f"epoch {epoch}/{epochs}, test accuracy {accuracy:.4f}" if epoch else "starts"
            self.bars.update(self.tasks[name], visible=True, completed=epoch, total=epochs, says=says)
            done += self.work[name] * epoch / epochs
        for name in self.ended:
            self.bars.update(self.tasks[name], visible=False)
        self.bars.update(self.whole, completed=done, says=f"{len(self.ended)}/{len(self.cells)}")


def describe_epoch(epoch: int, epochs: int, metrics: dict[str, float]) -> str:
    """One epoch in one line."""
    return (
        f"epoch {epoch:>{len(str(epochs))}}/{epochs}"
        f"  train loss {metrics['train/loss']:.4f}  accuracy {metrics['train/accuracy']:.4f}"
        f"  test loss {metrics['test/loss']:.4f}  accuracy {metrics['test/accuracy']:.4f}"
        f"  honest gap {metrics['gap/honest']:+.4f}  {metrics['time/epoch_seconds']:.1f} s"
    )
