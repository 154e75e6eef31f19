"""How alike the examples of a batch are: their cosines (Nøkland and Eidnes, arXiv 1901.06656)."""

from __future__ import annotations

import tensorflow as tf


def similarities(rows: tf.Tensor) -> tf.Tensor:
    """S(u), shape (batch, batch): the cosine of each two rows, after each row's mean is taken off.

    A row whose values are all the same is like no other, and not like itself: its row of S is 0.

    Args:
        rows: u, shape (batch, n).
    """
    # ū_b = u_b − mean(u_b),  S_bc = ū_b·ū_c / (‖ū_b‖·‖ū_c‖)
    centred = rows - tf.reduce_mean(rows, axis=1, keepdims=True)
    length = _root(tf.reduce_sum(tf.square(centred), axis=1, keepdims=True))
    unit = tf.math.divide_no_nan(centred, length)
    return tf.matmul(unit, unit, transpose_b=True)


def deviations(image: tf.Tensor) -> tf.Tensor:
    """The standard deviation of each channel over all positions, shape (batch, channels).

    Args:
        image: shape (batch, ..., channels).
    """
    axes = list(range(1, len(image.shape) - 1))
    return _root(tf.nn.moments(image, axes)[1])


def _root(squares: tf.Tensor) -> tf.Tensor:
    """The square root, whose gradient at 0 is 0."""
    positive = squares > 0
    root = tf.sqrt(tf.where(positive, squares, tf.ones_like(squares)))
    return tf.where(positive, root, tf.zeros_like(root))
