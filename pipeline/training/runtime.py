"""How TensorFlow runs here: fixed threads and deterministic operations, settled before its first operation.

oneDNN's convolutions are faster on every x86 processor, yet TensorFlow turns them on for the newest alone. It reads the
switch as it is imported, and the weights' bits depend on it.
"""

from __future__ import annotations

import tensorflow as tf

from pipeline.errors import TrainingError


def prepare_runtime(threads: int) -> None:
    """Fix the threads within one operation and make every operation deterministic.

    The weights' bits depend on the number of threads, so it is a setting of the run and never the machine's core count.
    Calling it again with the same number changes nothing. Raises TrainingError where TensorFlow runs with another one.
    """
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        except RuntimeError as error:
            raise TrainingError(
                f"TensorFlow already runs with other than {threads} threads; use a new process"
            ) from error
    tf.config.experimental.enable_op_determinism()
    tf.config.list_logical_devices()  # the devices are found now, while the caller expects it
