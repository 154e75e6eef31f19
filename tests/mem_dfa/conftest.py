"""Shared fixtures."""

import os
from collections.abc import Iterator

import keras
import pytest
import tensorflow as tf

# What XLA makes of a step is compared, not timed: LLVM need not make it fast, which takes longest.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"

# The second is a host to the first, for tests of what is kept there; its memory is the same.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture
def float64() -> Iterator[None]:
    """Layers are made in float64; losses and regularisers, which Keras sums in its default, too."""
    policy = keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy(policy)
