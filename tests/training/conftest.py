import pytest


@pytest.fixture(scope="session", autouse=True)
def runtime() -> None:
    """The threads of the default settings, fixed before a test touches TensorFlow."""
    from pipeline.training.runtime import prepare_runtime

    prepare_runtime(2)
