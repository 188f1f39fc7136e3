"""The study as its notebook trains it, in today's Keras: arrays, `model.fit` with its defaults, nothing logged.

    python -m benchmarks.peers.notebook EPOCHS IMAGES VARIANT... [--autolog] [--no-xla]

Keras's own default compiles for XLA, on a processor too. After every epoch comes a line of JSON: the variant, and the
seconds of the epoch's batches without the validation.
"""

from __future__ import annotations

import json
import sys
import time

import keras
import numpy as np

from pipeline.data.datasets import load_data
from pipeline.study.variants import find_variant
from pipeline.training.network import build_network  # the network's layers are Keras's own


def say_seconds(name: str) -> keras.callbacks.Callback:
    """A callback that says what an epoch's batches took, once the epoch is over."""
    moments: dict[str, float] = {}

    def say(*_: object) -> None:
        print(json.dumps({"variant": name, "train": moments["end"] - moments["begin"]}), flush=True)

    return keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: moments.update(begin=time.perf_counter()),
        on_test_begin=lambda *_: moments.update(end=time.perf_counter()),
        on_epoch_end=say,
    )


def main(epochs: int, images: int, variants: list[str], *, autolog: bool, xla: bool) -> None:
    """Train each variant with the data as plain arrays."""
    if autolog:
        import mlflow

        mlflow.autolog(silent=True)
    dataset = load_data("auto", subset=images)
    targets = [np.eye(10, dtype=np.float32)[labels] for labels in (dataset.y_train, dataset.y_test)]
    for name in variants:
        model = build_network(find_variant(name), seed=0)
        loss, jit = "categorical_crossentropy", "auto" if xla else False
        model.compile(optimizer="adam", loss=loss, metrics=["accuracy"], jit_compile=jit)
        model.fit(
            dataset.x_train,
            targets[0],
            batch_size=128,
            epochs=epochs,
            validation_data=(dataset.x_test, targets[1]),
            callbacks=[say_seconds(name)],
            verbose=0,
        )


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    main(int(words[0]), int(words[1]), words[2:], autolog="--autolog" in sys.argv, xla="--no-xla" not in sys.argv)
