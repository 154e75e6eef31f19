"""Random matrices that are the same to the bit in graph execution, eagerly and under XLA.

TensorFlow's counter-based generator (Philox) gives the same bits everywhere, but the floats it
makes of them are rounded differently under XLA. Here every number is a whole one below 2^24 times
a power of two, which is exact, and the caller multiplies it once: nothing is left that a fused
multiply-add, or another logarithm, could change.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import tensorflow as tf

Draw = Callable[[tf.Tensor, int, int], tf.Tensor]
"""From a seed, shape (2,), and a number of rows and columns to a float32 matrix."""


def _bits(seed: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """32 random bits an element, int32."""
    return tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.int32, alg="philox"
    )


def uniform(seed: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """U[-1, 1), shape (rows, columns): the upper 24 bits, with their sign, times 2^-23."""
    whole = tf.bitwise.right_shift(_bits(seed, (rows, columns)), 8)
    return tf.cast(whole, tf.float32) * 2.0**-23


def signs(seed: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """±1 with equal probability, shape (rows, columns): one bit each."""
    words = _bits(seed, (rows, -(-columns // 32), 1))
    spread = tf.reshape(tf.bitwise.right_shift(words, tf.range(32)), [rows, -1])
    return tf.cast(2 * tf.bitwise.bitwise_and(spread[:, :columns], 1) - 1, tf.float32)


def _quantiles() -> np.ndarray:
    """The 256 quantiles of a normal distribution in units of 2^-20, with variance 1, int32."""
    middles = (np.arange(256) + 0.5) / 256
    values = np.array([NormalDist().inv_cdf(middle) for middle in middles])
    return np.round(values / values.std() * 2**20).astype(np.int32)


QUANTILES = _quantiles()


def normal(seed: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """N(0, 1), shape (rows, columns): half the sum of four of its 256 quantiles.

    No logarithm or cosine, as Box and Muller need, is rounded alike everywhere; a sum of whole
    numbers is. Mean and variance are exact, the kurtosis is 2.98 in place of 3, and no value is
    beyond 5.8.
    """
    bits = _bits(seed, (rows, columns))
    total = tf.zeros_like(bits)
    for shift in (0, 8, 16, 24):
        byte = tf.bitwise.bitwise_and(tf.bitwise.right_shift(bits, shift), 255)
        total += tf.gather(QUANTILES, byte)
    return tf.cast(total, tf.float32) * 2.0**-21
