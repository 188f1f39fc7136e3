"""What is paid however short the training: commands that only answer, and what comes before and after the batches.

    python -m benchmarks.fixed_cost --rounds 3

`train` is measured beside a bare Keras script: the same network, images, batch size and one epoch, nothing logged.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from benchmarks.measure import IN_SCALE, SUBSET, describe, divide, print_table, run_process

COMMANDS = ("--help", "variants", "compare")
SEEDS, VARIANTS = 8, 14
"""Of the store that `compare` reads (benchmarks.scale)."""
TRAINED = re.compile(r"import time:.*\| +(tensorflow|keras|torch)$", re.MULTILINE)
MOMENTS = ("start to first batch", "last batch to exit", "start to exit")


def describe_ratio(slow: Sequence[float], fast: Sequence[float]) -> str:
    """The ratio of medians, with the least and the greatest within a round; a dash where one was not measured."""
    if not slow or not fast:
        return "-"
    ratios = [first / second for first, second in zip(slow, fast, strict=True)]
    return f"{divide(slow, fast):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"


def measure_commands(folder: Path, rounds: int) -> None:
    """CPU seconds of the commands that train nothing, and whether they import what trains."""
    run_process(folder, "-m", "benchmarks.scale", "make", str(SEEDS))
    words = {name: (name, "scale.toml") if name == "compare" else (name,) for name in COMMANDS}
    spent: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_ in range(rounds + 1):
        for name in COMMANDS:
            cpu = run_process(folder, "-m", "pipeline", *words[name]).cpu
            spent[name] += [cpu] if round_ else []  # the first one writes byte code
    rows = [(name, describe(cpu), find_imports(folder, *words[name]) or "none") for name, cpu in spent.items()]
    click.echo(f"Commands in fresh processes, n = {rounds} each, in turn; `compare` reads {SEEDS * VARIANTS} runs.")
    print_table(("command", "CPU s", "of tensorflow, keras, torch it imports"), rows)


def find_imports(folder: Path, *words: str) -> str:
    """Which of the packages that train a command imports, by `python -X importtime`."""
    said = run_process(folder, "-X", "importtime", "-m", "pipeline", *words).output
    assert "import time:" in said
    return ", ".join(sorted(set(TRAINED.findall(said))))


def train_bare(mark: Callable[[], None]) -> None:
    """The script that a reader of Keras's guide would write."""
    import keras
    import numpy as np
    from keras import layers

    with np.load(SUBSET) as file:
        images, labels = file["x_train"][..., None] / np.float32(255), keras.utils.to_categorical(file["y_train"], 10)
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    network.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    hear = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: mark())
    network.fit(images, labels, batch_size=128, epochs=1, verbose=0, callbacks=[hear])


def train_tracked(mark: Callable[[], None]) -> None:
    """`python -m pipeline train` in this process."""
    from pipeline.cli.main import main as door
    from pipeline.cli.progress import EpochLines

    EpochLines.end_batch = lambda *_: mark()  # type: ignore[method-assign]
    door(["train", "--arch=conv2_3x3", "--epochs=1", f"--data={SUBSET}"])


WAYS = {"bare": train_bare, "tracked": train_tracked}


def measure_moments(folder: Path, way: str) -> tuple[float, ...]:
    """Wall seconds of one fresh process: to the end of its first batch, after its last one, in all."""
    began = time.monotonic()
    run_process(folder, "-m", "benchmarks.fixed_cost", f"--once={way}", **IN_SCALE)
    ended = time.monotonic()
    first, *_, last = json.loads((folder / "moments.json").read_text())
    return first - began, ended - last, ended - began


def measure_training(folder: Path, rounds: int) -> None:
    """What tracking adds around the batches, beside the bare script."""
    taken: dict[str, list[Sequence[float]]] = {way: [] for way in WAYS}
    for round_ in range(rounds + 1):
        for way in WAYS:
            moments = measure_moments(folder, way)
            taken[way] += [moments] if round_ else []  # the first one makes the store
    rows = []
    for place, name in enumerate(MOMENTS):
        bare, tracked = ([moments[place] for moments in taken[way]] for way in WAYS)
        rows.append((name, describe(bare), describe(tracked), describe_ratio(tracked, bare)))
    click.echo(
        "`train` beside a bare Keras script: conv2_3x3, 2,000 real digits, one epoch, fresh processes in turn, "
        f"n = {rounds} each; wall seconds. The bare script evaluates, draws, logs and saves nothing."
    )
    print_table(("part", "bare (s)", "train (s)", "train / bare"), rows)


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--once", type=click.Choice(list(WAYS)), hidden=True)
def main(rounds: int, once: str | None) -> None:
    """Measure fresh processes, and print GitHub tables."""
    if once:
        moments: list[float] = []
        try:
            WAYS[once](lambda: moments.append(time.monotonic()))
        finally:
            Path("moments.json").write_text(json.dumps(moments))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure_commands(folder, rounds)
        measure_training(folder, rounds)


if __name__ == "__main__":
    main()
