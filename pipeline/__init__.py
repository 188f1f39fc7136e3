"""A tracked study of regularisation in convolutional networks on MNIST."""

import pipeline.training  # noqa: F401  settles what TensorFlow reads, before anything can import it

__version__ = "0.1.0"
