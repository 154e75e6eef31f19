"""How far an input that RevNet rebuilds is from the true one, and what to say if it is too far."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.layers.reversible import Pair

CHECKED_PARTS = 8
BEYOND_BOUND = (
    "RevNet: a rebuilt input is further from the true one than reconstruction_bound={}, so the "
    "gradient would be wrong: {}lower the learning rate, use fewer blocks between ordinary ones, "
    "or train with 'checkpoint'."
)
LOW_PRECISION = (
    "the reversible blocks compute in {}, whose rounding alone comes near the bound; give their "
    "layers dtype='float32' or the trainer a larger bound first, then "
)
NOT_FINITE = (
    "RevNet: a rebuilt input is not finite, beyond any reconstruction_bound: look for NaN and "
    "infinity in the batch first; if there is none, lower the learning rate, use fewer blocks "
    "between ordinary ones, or train with 'checkpoint'."
)


def relative_distance(rebuilt: Pair, true: tf.Tensor) -> tf.Tensor:
    """‖x̂ − x‖_∞ / ‖x‖_∞, a scalar; not finite where a single difference is not."""
    half, size = rebuilt[0].shape[-1], tf.shape(true)[0]
    differences, values = [], []
    # In parts, so that what is compared takes no memory to speak of.
    for number in range(CHECKED_PARTS):
        part = slice(number * size // CHECKED_PARTS, (number + 1) * size // CHECKED_PARTS)
        for got, channels in zip(rebuilt, (slice(half), slice(half, None)), strict=True):
            x = true[part, ..., channels]
            difference = tf.abs(got[part] - x)
            # A maximum passes over NaN, on a CPU and under XLA.
            is_number = tf.math.is_finite(difference)
            infinite = tf.cast(math.inf, difference.dtype)
            differences.append(tf.reduce_max(tf.where(is_number, difference, infinite)))
            values.append(tf.reduce_max(tf.abs(x)))
    difference = tf.reduce_max(differences)
    # Nothing but zeros, rebuilt as they are, is no 0/0.
    return tf.where(difference == 0, difference, difference / tf.reduce_max(values))


@keras.saving.register_keras_serializable("mem_dfa")
class Greatest(keras.metrics.Metric):
    """The greatest value seen since the last reset."""

    def __init__(self, name: str = "greatest", **details: Any) -> None:
        """Start from 0."""
        super().__init__(name=name, **details)
        self.value = self.add_weight(name="value", initializer="zeros")

    def update_state(self, value: tf.Tensor) -> None:
        """Take one more value; NaN stays."""
        value, greatest = tf.cast(value, self.value.dtype), self.value.value
        self.value.assign(tf.where(tf.math.is_nan(greatest) | (value <= greatest), greatest, value))

    def result(self) -> tf.Tensor:
        """The greatest value: not the variable, which the tests after an epoch reset."""
        return tf.identity(self.value.value)
