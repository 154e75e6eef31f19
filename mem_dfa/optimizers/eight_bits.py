"""Numbers in a byte each, with a scale for every block of them: the state of `Adam8Bit`.

Dettmers, Lewis, Shleifer and Zettlemoyer (2022, arXiv 2110.02861). Blocks of 256 values are divided
by the largest, and of what is left, x, a code says the power of ten and how far it is from there to
the next one, so that a number a million times smaller than the largest is still told from zero:

    |x| ≈ 10^{-e}·(0.1 + 0.9·(k + ½)/n_e),   e = 0 … 6,   k = 0 … n_e − 1

With a sign n_e = 2^{6-e}, without n_e = 2^{7-e}. Two more codes are 0 and 1. Without a sign no
other value than 0 has its code: small ones have the least positive one.
"""

from __future__ import annotations

import functools
import math
from typing import TypeAlias

import numpy as np
import tensorflow as tf

Tensor: TypeAlias = tf.Tensor
BLOCK, POWERS = 256, 7


@functools.cache
def values(is_signed: bool) -> np.ndarray:
    """The value of every code, ascending, shape (256,), float32."""
    found = [0.0, 1.0]
    for power in range(POWERS):
        count = 2 ** (POWERS - is_signed - power)
        middles = 0.1 + 0.9 * (np.arange(count) + 0.5) / count
        found += list(10.0**-power * middles)
        found += list(-(10.0**-power) * middles) if is_signed else []
    return np.sort(np.array(found, np.float32))


def zero(is_signed: bool) -> int:
    """The code of 0."""
    return int(np.flatnonzero(values(is_signed) == 0)[0])


def _border(power: int, is_signed: bool) -> float:
    """Between the largest value with that power of ten and the least with the one above."""
    known = values(is_signed)
    below = known[known < 10.0**-power][-1]
    return float(below + known[known > below][0]) / 2


def blocks_of(size: int) -> int:
    """How many blocks hold so many values."""
    return math.ceil(size / BLOCK)


def encoded(tensor: Tensor, is_signed: bool) -> tuple[Tensor, Tensor]:
    """The nearest codes, and what each block was divided by.

    Without a sign that is the nearest positive code of every positive value.

    Args:
        tensor: float32, of any shape that is known.
        is_signed: whether values may be negative.

    Returns:
        Shapes (blocks, 256), uint8, and (blocks, 1), float32.
    """
    flat = tf.reshape(tensor, [-1])
    size = flat.shape[0]
    rows = tf.reshape(tf.pad(flat, [[0, blocks_of(size) * BLOCK - size]]), [-1, BLOCK])
    scale = tf.reduce_max(tf.abs(rows), axis=1, keepdims=True)
    is_zero = rows == 0  # of a small value the quotient may be 0
    rows = tf.math.divide_no_nan(rows, scale)
    sizes = tf.abs(rows)
    # e and n_e: by comparisons, because a logarithm is not rounded alike everywhere.
    ten, count = tf.ones_like(sizes), tf.fill(tf.shape(sizes), 2.0 ** (POWERS - is_signed))
    for power in range(1, POWERS):
        is_smaller = sizes < _border(power, is_signed)
        ten = tf.where(is_smaller, 10.0**power, ten)
        count = tf.where(is_smaller, 2.0 ** (POWERS - is_signed - power), count)
    k = tf.clip_by_value(tf.floor((sizes * ten - 0.1) / 0.9 * count), 0.0, count - 1)
    # Codes of smaller powers come first.
    place = count + k if is_signed else count - 1 + k
    known = values(is_signed)
    place = tf.where(sizes > float(known[-2:].mean()), 128.0 if is_signed else 255.0, place)
    # Adam divides by the root of what has no sign: a v of 0 beside an m would be a step of m/ε.
    least = float(known[known > 0][0])
    place = tf.where(sizes < least / 2 if is_signed else is_zero, 0.0, place)
    if is_signed:
        # No code for −1: the largest below zero stands for it.
        place = tf.where(rows < 0, 127.0 - tf.minimum(place, 127.0), 127.0 + place)
    return tf.cast(place, tf.uint8), scale


def decoded(codes: Tensor, scale: Tensor, shape: tuple[int, ...], is_signed: bool) -> Tensor:
    """What was `encoded`, in its shape, float32."""
    rows = tf.gather(tf.constant(values(is_signed)), tf.cast(codes, tf.int32)) * scale
    return tf.reshape(tf.reshape(rows, [-1])[: math.prod(shape)], shape)
