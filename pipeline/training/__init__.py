"""The only room, beside serving, that imports TensorFlow, which reads this as it is imported: see runtime.py."""

import os

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
