"""A tracked study of regularisation in convolutional networks on MNIST."""

import pipeline.training  # noqa: F401  settles what TensorFlow and Keras read before anything imports them
from pipeline.api import compare, report, sweep, train

__all__ = ["compare", "report", "sweep", "train"]
__version__ = "0.1.0"
