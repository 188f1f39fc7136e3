"""A tracked study of regularisation in convolutional networks on MNIST."""

__version__ = "0.1.0"
