"""How TensorFlow runs here: fixed threads and deterministic operations, settled before its first operation."""

from __future__ import annotations

import keras
import tensorflow as tf

from pipeline.errors import TrainingError
from pipeline.training import CAME_TOO_LATE


def prepare_runtime(threads: int) -> None:
    """Fix the threads within one operation, make every operation deterministic, and give Keras its own defaults.

    The weights' bits depend on the number of threads, so it is a setting of the run and never the machine's core count.
    Calling it again with the same number changes nothing. Raises TrainingError where TensorFlow runs with another one,
    or was imported before this package and may have read other settings.
    """
    differing = CAME_TOO_LATE if keras.backend.backend() == "tensorflow" else ["KERAS_BACKEND", *CAME_TOO_LATE]
    if differing:
        raise TrainingError(
            f"TensorFlow or Keras was imported before pipeline, with another {', '.join(differing)}; "
            "import pipeline first, in a new process"
        )
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        except RuntimeError as error:
            raise TrainingError(
                f"TensorFlow already runs with other than {threads} threads; use a new process"
            ) from error
    tf.config.experimental.enable_op_determinism()
    tf.config.list_logical_devices()  # the devices are found now, while the caller expects it


def describe_runtime() -> dict[str, object]:
    """How Keras and TensorFlow run in this process, as they say themselves."""
    return {
        "backend": keras.backend.backend(),
        "image_data_format": keras.config.image_data_format(),
        "floatx": keras.config.floatx(),
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "devices": [f"{device.device_type} {device.name}" for device in tf.config.list_logical_devices()],
    }
