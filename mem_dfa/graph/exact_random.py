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

from mem_dfa.graph.once import constant

PHILOX = 1
"""The generator's number in TensorFlow's operations."""

Draw = Callable[[tf.Tensor, int, int], tf.Tensor]
"""From a seed, shape (2,), and a number of rows and columns to a float32 matrix."""


def _bits(seed: tf.Tensor, shape: tuple[int | tf.Tensor, ...]) -> tf.Tensor:
    """32 random bits an element, int32: Philox with `seed` as its key and upper counter."""
    seed = tf.reshape(tf.cast(seed, tf.int64), constant([2, 1], tf.int32))
    key, upper = tf.unstack(seed)
    is_known = not any(tf.is_tensor(size) for size in shape)
    counter = tf.concat([constant([0], tf.int64), upper], constant(0, tf.int32))
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=constant(shape, tf.int32) if is_known else tf.stack(shape),
        key=tf.bitcast(key, tf.uint64),
        counter=tf.bitcast(counter, tf.uint64),
        alg=constant(PHILOX, tf.int32),
        dtype=tf.int32,
    )


def uniform(seed: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """U[-1, 1), shape (rows, columns): the upper 24 bits, with their sign, times 2^-23."""
    whole = tf.bitwise.right_shift(_bits(seed, (rows, columns)), constant(8, tf.int32))
    return tf.cast(whole, tf.float32) * constant(2.0**-23, tf.float32)


def signs(seed: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """±1 with equal probability, shape (rows, columns): one bit each."""
    words = _bits(seed, (rows, -(-columns // 32), 1))
    bits = tf.bitwise.right_shift(words, constant(range(32), tf.int32))
    spread = tf.reshape(bits, constant([rows, -1], tf.int32))
    origin, size = constant([0, 0], tf.int32), constant([rows, columns], tf.int32)
    one = constant(1, tf.int32)
    chosen = tf.bitwise.bitwise_and(tf.slice(spread, origin, size), one)
    return tf.cast(chosen + chosen - one, tf.float32)


def _quantiles() -> np.ndarray:
    """The 256 quantiles of a normal distribution in units of 2^-20, with variance 1, int32."""
    middles = (np.arange(256) + 0.5) / 256
    values = np.array([NormalDist().inv_cdf(middle) for middle in middles])
    return np.round(values / values.std() * 2**20).astype(np.int32)


QUANTILES = _quantiles()


def normal(seed: tf.Tensor, rows: int | tf.Tensor, columns: int) -> tf.Tensor:
    """N(0, 1), shape (rows, columns): half the sum of four of its 256 quantiles.

    No logarithm or cosine, as Box and Muller need, is rounded alike everywhere; a sum of whole
    numbers is. Mean and variance are exact, the kurtosis is 2.98 in place of 3, and no value is
    beyond 5.8.
    """
    bits = _bits(seed, (rows, columns))
    quantiles, lowest = constant(QUANTILES, tf.int32), constant(255, tf.int32)
    total = tf.zeros_like(bits)
    for shift in (0, 8, 16, 24):
        byte = tf.bitwise.bitwise_and(
            tf.bitwise.right_shift(bits, constant(shift, tf.int32)), lowest
        )
        total += tf.raw_ops.GatherV2(params=quantiles, indices=byte, axis=constant(0, tf.int32))
    return tf.cast(total, tf.float32) * constant(2.0**-21, tf.float32)


def choices(seed: tf.Tensor, of: int, count: int, columns: int) -> tf.Tensor:
    """`count` different ones of `of` whole numbers from 0, shape (count, columns), int32.

    Floyd's algorithm (Bentley and Floyd, CACM 1987), for all columns at once: every choice is as
    likely, and nothing of the size `of` is made.
    """
    positive = tf.bitwise.bitwise_and(_bits(seed, (count, columns)), constant(2**31 - 1, tf.int32))
    chosen: list[tf.Tensor] = []
    for last, bits in zip(range(of - count, of), tf.unstack(positive), strict=True):
        # One of 0 … last; where it is taken already, `last`, which cannot be.
        number = tf.math.floormod(bits, constant(last + 1, tf.int32))
        for other in chosen:
            number = tf.where(tf.equal(number, other), constant(last, tf.int32), number)
        chosen.append(number)
    return tf.stack(chosen)
