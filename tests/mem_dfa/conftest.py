"""Shared fixtures."""

from collections.abc import Iterator

import keras
import pytest


@pytest.fixture
def float64() -> Iterator[None]:
    """Keras sums the loss and the regularisers in its default dtype: make that float64."""
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")
