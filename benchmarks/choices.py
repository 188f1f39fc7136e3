"""What a training step and an evaluation take under other choices than ours: what was tried, and whether it paid.

    python -m benchmarks.choices --rounds 3

Each choice in a fresh process, in turn. Some of them would also change the bits of the weights from run to run.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from benchmarks.measure import describe, divide, print_table

VARIANTS = ("conv5_3x3_reg", "conv7_3x3")
STEPS, BATCH, IMAGES = 8, 128, 2000
THREADS = 2
OURS = "as it is"
ENVIRONMENTS: Mapping[str, Mapping[str, str]] = {
    OURS: {},
    "TensorFlow's own convolutions (no oneDNN)": {},
    "dropout by `tf.nn` (a 32-bit number a value)": {},
    "1 inter-op thread": {},
    "4 inter-op threads": {},
    "operations that need not be deterministic": {},
    "memory in huge pages": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    "memory never given back": {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**34)},
    "mixed_bfloat16": {},
}
SIZES = (100, 200, 500, 1000, 2000)
OUR_SIZE = 200


def take_choice(choice: str) -> None:
    """Make one choice in this process, before TensorFlow's first operation."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import pipeline.training  # noqa: F401 - settles the environment that TensorFlow reads when it is imported

    if "oneDNN" in choice:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    import keras
    import tensorflow as tf

    from pipeline.training import step
    from pipeline.training.runtime import prepare_runtime

    if "inter-op" in choice:
        tf.config.threading.set_inter_op_parallelism_threads(int(choice[0]))
    if "dropout" in choice:
        step.drop_half = lambda values, seed: tf.nn.experimental.stateless_dropout(values, 0.5, seed)  # type: ignore
    if "deterministic" in choice:
        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    else:
        prepare_runtime(THREADS)
        keras.utils.set_random_seed(0)


def take_median(call: Callable[[], Any]) -> float:
    """Milliseconds of a call, after two that compile and warm up."""
    taken = []
    for _ in range(STEPS + 2):
        begun = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken[2:])


def measure_choice(what: str, variant: str, choice: str) -> float:
    """Milliseconds of one training step on a batch of real digits, or of evaluating all in batches of `choice`."""
    take_choice(choice)
    import keras
    import tensorflow as tf

    from pipeline.data.datasets import load_data
    from pipeline.study.variants import find_variant
    from pipeline.training import evaluation
    from pipeline.training.network import build_network
    from pipeline.training.randomness import draw_dropout_seeds
    from pipeline.training.step import compile_step, count_dropouts

    digits = load_data("auto", subset=IMAGES)
    images = tf.constant(digits.x_train)
    network = build_network(find_variant(variant), 0, choice if choice.startswith("mixed") else "float32")
    if what == "evaluation":
        evaluation.BATCH = int(choice)
        evaluate = evaluation.compile_evaluation(network)
        return take_median(lambda: evaluate(images, digits.y_train))
    step = compile_step(network, images, tf.constant(keras.utils.to_categorical(digits.y_train, 10)))
    places, seeds = tf.range(BATCH), draw_dropout_seeds(0, 1, count_dropouts(network))
    return take_median(lambda: float(step(places, 0, seeds)[0]))


def ask_process(what: str, variant: str, choice: str) -> float:
    """Measure one choice in a fresh process."""
    environment = {**os.environ, **ENVIRONMENTS.get(choice, {})}
    command = [sys.executable, "-m", "benchmarks.choices", "--once", what, variant, choice]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def print_choices(what: str, variant: str, choices: list[str], ours: str, rounds: int) -> None:
    """A table of the choices, measured in turn, with the ratio of each one's median to ours."""
    taken: dict[str, list[float]] = {choice: [] for choice in choices}
    for _ in range(rounds):
        for choice in choices:
            taken[choice].append(ask_process(what, variant, choice))
    rows = [(choice, describe(each, 0), f"{divide(each, taken[ours]):.2f}") for choice, each in taken.items()]
    print_table((f"{variant}, {what}", "ms", "ratio"), rows)


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--variant", "variants", multiple=True, default=VARIANTS)
@click.option("--once", nargs=3, hidden=True)
def main(rounds: int, variants: tuple[str, ...], once: tuple[str, str, str] | None) -> None:
    """Print a table of steps for each variant, and one of evaluations for the first."""
    if once:
        click.echo(json.dumps(measure_choice(*once)))
        return
    click.echo(
        f"Medians of {STEPS} steps on {BATCH} digits in each of {rounds} fresh processes a choice, in turn, with "
        f"{THREADS} threads (least to most of the processes); then of evaluations of {IMAGES} digits by batch size. "
        f'Ratios to what the pipeline does: "{OURS}", batches of {OUR_SIZE}.'
    )
    for variant in variants:
        print_choices("step", variant, list(ENVIRONMENTS), OURS, rounds)
    print_choices("evaluation", variants[0], list(map(str, SIZES)), str(OUR_SIZE), rounds)


if __name__ == "__main__":
    main()
