"""How a training shows itself: a live bar on a terminal, one plain line per epoch in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from pipeline import interrupts
from pipeline.background import repeat
from pipeline.cli.terminal import close, outliving_terminal, quiet_stderr
from pipeline.plain import count, format_duration
from pipeline.study import metrics
from pipeline.sweep.estimate import count_cell_work
from pipeline.sweep.paces import LEAST_SHARE, Pace, expect_epoch, read_running
from pipeline.training.observer import Epoch, Kernels
from pipeline.workflows.train import LOADING, TRAINING, RunProgress

if TYPE_CHECKING:  # importing them all would import Dask
    from pipeline.data.datasets import Dataset
    from pipeline.study.settings import Settings
    from pipeline.study.variants import Variant
    from pipeline.sweep.cells import Cell
    from pipeline.sweep.execute import CellReport
    from pipeline.sweep.sweep import Sweep
    from pipeline.workflows.train import TrainedRun

LOOK_SECONDS = 2.0
STOPPING = "stopping ..."


class Lines(Console):
    """A terminal or pipe whose reader may leave: a training goes on without one."""

    def on_broken_pipe(self) -> None:
        """Write to nobody from now on."""
        close(sys.stdout)

    def _write_buffer(self) -> None:
        """Write what is to be shown, be it to a terminal that has closed."""
        with outliving_terminal():
            super()._write_buffer()

    def say(self, text: str) -> None:
        """Print a line as it is."""
        self.print(text, highlight=False, markup=False, soft_wrap=True)


class EpochLines(RunProgress):
    """Prints what a run is and does, one line an epoch, with a live bar over the batches on a terminal.

    `hint` is the last line of a run that has finished: where to look next.
    """

    def __init__(self, hint: str = "") -> None:
        self.hint = hint
        self.run_id, self.resumes = "", False
        self.epochs = self.finished = 0
        self.console = console = Lines()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"))
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("starts", total=None, left="")
        self.pace = Pace()

    def begin_run(self, run_id: str, variant: Variant, settings: Settings, *, resumes: bool) -> None:
        """Say what is trained, and in which run."""
        self.run_id, self.resumes, self.epochs = run_id, resumes, settings.epochs
        self.bar.update(self.task, total=settings.epochs)
        if self.console.is_terminal:
            self.pace.expected = expect_epoch(variant, settings)
        said = "resumes run" if resumes else "run"
        epochs = count(settings.epochs, "epoch")
        self.console.say(f"{variant.name}, seed {settings.seed}, {epochs}; {said} {run_id}")

    def show_data(self, dataset: Dataset) -> None:
        """Say what it is trained on."""
        self.console.say(f"data {dataset.name}: {dataset.x_train.shape} training, {dataset.x_test.shape} test")
        for note in dataset.notes:
            self.console.say(f"data {note}")

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Show a phase: the bar while it trains, a word while TensorFlow loads or results are logged."""
        if phase == TRAINING:
            self.pace.start_epoch()
            self._show_left(0.0, self.epochs - self.finished - 1)
            with self.bar, interrupts.noticing(lambda: self.bar.update(self.task, description=STOPPING)):
                yield
        else:
            silent = quiet_stderr() if phase == LOADING else nullcontext()
            with self.console.status(phase), silent:
                yield

    def end_run(self, trained: TrainedRun) -> None:
        """Say the result."""
        said = {name: metrics.format_value(name, value) for name, value in trained.finals.items()}
        self.console.say(f"weights sha256 {trained.weights_sha256}")
        accuracy, loss = said[metrics.TEST_ACCURACY.final], said[metrics.TEST_LOSS.final]
        self.console.say(f"test accuracy {accuracy}, test loss {loss}")
        if self.hint:
            self.console.say(self.hint)

    def resume_training(self, epochs: Sequence[Epoch], refused: Sequence[str]) -> None:
        """Say which checkpoints could not be used, and where the training goes on."""
        for reason in refused:
            self.console.say(f"refused: {reason}")
        self.finished = len(epochs)
        self.console.say(f"continues after epoch {self.finished} of {self.epochs}")

    def end_batch(self, epoch: int, batch: int, batches: int) -> None:
        """Move the bar, which counts epochs; after the last batch the weights are evaluated."""
        evaluates = ", evaluating" if batch == batches else ""
        done = epoch - 1 + batch / batches
        self.bar.update(self.task, description=f"epoch {epoch}/{self.epochs}{evaluates}", completed=done)
        self._show_left(batch / batches, self.epochs - epoch)

    def show_kernels(self, epoch: int, kernels: Kernels) -> None:
        """Name the drawing of the weights, which follows."""
        self.bar.update(self.task, description=f"epoch {epoch}/{self.epochs}, drawing the weights")

    def _show_left(self, share: float, epochs: int) -> None:
        """Show the time left when this share of an epoch is done and so many epochs follow."""
        seconds = self.pace.estimate_left(share, epochs)
        self.bar.update(self.task, left=say_left(seconds) or "time left unknown yet")

    def end_epoch(self, epoch: int, metrics: dict[str, float], ended: int) -> None:
        """Print the epoch's line."""
        self.finished = epoch
        self.pace.end_epoch()
        self.console.say(describe_epoch(epoch, self.epochs, metrics))

    def say_stop(self) -> str:
        """How far the training came when a signal stopped it, and the command that continues."""
        if not self.finished and not self.resumes:
            return "Stopped before the first epoch was finished; nothing to resume. Start the same command again."
        where = f" after epoch {self.finished} of {self.epochs}" if self.finished else ""
        return f"Stopped{where}. Continue: python -m pipeline train --resume {self.run_id}"


class CellLines(ExitStack):
    """Prints one line per cell that ends; on a terminal also live bars: the sweep, and each cell under way by epoch.

    `reports` is given each cell that ends; `expected` are the seconds that the sweep takes by earlier runs.
    """

    def __init__(
        self, sweep: Sweep, cells: Sequence[Cell], reports: list[CellReport], expected: float | None = None
    ) -> None:
        super().__init__()
        self.reports, self.expected = reports, expected
        self.sweep, self.cells = sweep, {cell.name: cell for cell in cells}
        self.work = {cell.name: count_cell_work(cell) for cell in cells}
        self.console = Lines()
        self.done = dict.fromkeys(self.work, 0.0)
        self.started = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[says]}"))
        hidden = not self.console.is_terminal or not cells
        self.bars = Progress(*columns, console=self.console, transient=True, disable=hidden)
        self.whole = self.bars.add_task("cells", total=sum(self.work.values()) or None, says=f"0/{len(cells)}")
        self.tasks = {cell.name: self.bars.add_task(cell.name, visible=False, says="") for cell in cells}

    def __enter__(self) -> CellLines:
        self.enter_context(self.bars)
        self.enter_context(interrupts.noticing(lambda: self.bars.update(self.whole, description=STOPPING)))
        if self.console.is_terminal:
            self.enter_context(repeat(self._look_on, LOOK_SECONDS))
        return self

    def end_cell(self, report: CellReport) -> None:
        """Print the cell's line."""
        self.reports.append(report)
        self.done[report.name] = self.work[report.name]
        width = max(map(len, self.cells))
        place = f"{len(self.reports)}/{len(self.cells)}"
        self.console.say(f"{place}  {report.name:<{width}} {report.seconds:7.1f} s  {report.message}")

    def _look_on(self) -> None:
        """Ask the store how far the cells are; workers may be on any machine."""
        self._show(read_running(self.sweep.store, self.sweep.experiment_id))

    def _show(self, running: dict[str, tuple[int, float]]) -> None:
        """Move the bars; what is done of a cell stays done while its figures are drawn."""
        ended = {report.name for report in self.reports}
        for name, (epoch, accuracy) in running.items():
            if name not in self.cells or name in ended:
                continue
            epochs, before = self.cells[name].settings.epochs, self.cells[name].last_epoch
            accurate = metrics.format_value(metrics.TEST_ACCURACY, accuracy)
            says = f"epoch {epoch}/{epochs}, test accuracy {accurate}" if epoch else "starts"
            if epoch == epochs:
                says = "logging figures and the model"
            self.bars.update(self.tasks[name], visible=True, completed=epoch, total=epochs, says=says)
            self.done[name] = max(self.done[name], self.work[name] * (epoch - before) / max(epochs - before, 1))
        for name in ended:
            self.bars.update(self.tasks[name], visible=False)
        left = say_left(self.estimate_left())
        says = f"{len(self.reports)}/{len(self.cells)}{', ' if left else ''}{left}"
        self.bars.update(self.whole, completed=sum(self.done.values()), says=says)

    def estimate_left(self) -> float | None:
        """Seconds left: by what this sweep has done, before it has done enough by earlier runs; None if unknown."""
        passed = time.monotonic() - self.started
        done, whole = sum(self.done.values()), sum(self.work.values())
        if done >= LEAST_SHARE * whole > 0:
            return passed * (whole - done) / done
        return None if self.expected is None else max(self.expected - passed, 0.0)


def say_left(seconds: float | None) -> str:
    """The time left; "" where it is unknown."""
    if seconds is None:
        return ""
    return f"about {format_duration(seconds)} left" if seconds >= 1 else "takes longer than expected"


def describe_epoch(epoch: int, epochs: int, measured: dict[str, float]) -> str:
    """One epoch in one line."""
    said = {name: metrics.format_value(name, value) for name, value in measured.items()}
    return (
        f"epoch {epoch:>{len(str(epochs))}}/{epochs}"
        f"  train loss {said[metrics.TRAIN_LOSS]}  accuracy {said[metrics.TRAIN_ACCURACY]:>7}"
        f"  test loss {said[metrics.TEST_LOSS]}  accuracy {said[metrics.TEST_ACCURACY]:>7}"
        f"  honest gap {said[metrics.GAP_HONEST]}  {measured[metrics.EPOCH_SECONDS]:.1f} s"
    )
