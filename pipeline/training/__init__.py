"""The only room, beside serving, that imports TensorFlow and Keras, and what they may read of the environment.

Both read variables and ~/.keras/keras.json when they are imported: some would change the weights' bits, some would
make the import fail. So whatever is not known to be harmless is removed, and the rest is set here beforehand.
"""

import os
import sys

READ = ("TF_", "KERAS_", "ONEDNN_", "DNNL_", "XLA_")
HARMLESS = ("TF_CPP_", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_GPU_ALLOCATOR", "TF_GPU_THREAD_")
SETTLED = {
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": os.devnull,  # no folder, so no keras.json is read or written
    "TF_ENABLE_ONEDNN_OPTS": "1",  # faster on every x86 processor; TensorFlow turns it on for the newest alone
}


def settle_environment() -> list[str]:
    """Take out of the environment what would change a training, and set SETTLED; the variables that differed."""
    read = {name for name in os.environ if name.startswith(READ) and not name.startswith(HARMLESS)}
    differing = [name for name in sorted(read | set(SETTLED)) if os.environ.get(name) != SETTLED.get(name)]
    for name in read:
        del os.environ[name]
    os.environ.update(SETTLED)
    return differing


_imported = {"tensorflow", "keras"} & set(sys.modules)
CAME_TOO_LATE = [name for name in settle_environment() if _imported and not name.startswith("KERAS_")]
"""Variables that an import of TensorFlow before this one has read otherwise; see runtime.py for those of Keras."""
