"""Whole numbers of few bits, several in each byte."""

from __future__ import annotations

import functools
from typing import TypeAlias

import tensorflow as tf

Tensor: TypeAlias = tf.Tensor


def packed(codes: Tensor, bits: int) -> Tensor:
    """Numbers from 0 to 2^bits − 1, shape (rows, columns), uint8, in bits/8 as many columns.

    Args:
        codes: the number of columns is a multiple of 8/bits.
        bits: of each: 1, 2, 4 or 8.
    """
    if bits == 8:
        return codes
    parts = tf.split(codes, 8 // bits, axis=1)
    shifts = [tf.constant(bits * place, tf.uint8) for place in range(len(parts))]
    shifted = [
        tf.bitwise.left_shift(part, shift) for part, shift in zip(parts, shifts, strict=True)
    ]
    return functools.reduce(tf.bitwise.bitwise_or, shifted)


def unpacked(codes: Tensor, bits: int) -> Tensor:
    """What was `packed`."""
    if bits == 8:
        return codes
    mask = tf.constant(2**bits - 1, tf.uint8)
    shifted = [
        tf.bitwise.right_shift(codes, tf.constant(place, tf.uint8)) for place in range(0, 8, bits)
    ]
    return tf.concat([tf.bitwise.bitwise_and(part, mask) for part in shifted], axis=1)
