"""Labels as one-hot vectors."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from mem_dfa.errors import UnsupportedError


def one_hot(owner: str, y: Any, logits: keras.KerasTensor) -> tf.Tensor:
    """Labels that are one-hot, or numbers of classes, as one-hot ones.

    Args:
        owner: name of the algorithm, for messages.
        y: the labels, as they were given, shape (batch, ..., classes), (batch, ...) or
            (batch, ..., 1).
        logits: what they are for, shape (batch, ..., classes).

    Returns:
        Shape and dtype of the logits.

    Raises:
        UnsupportedError: they are neither.
    """
    y, classes = tf.convert_to_tensor(y), logits.shape[-1]
    if len(y.shape) == len(logits.shape) and y.shape[1:] == logits.shape[1:]:
        return tf.cast(y, logits.dtype)
    if len(y.shape) == len(logits.shape) and y.shape[-1] == 1:
        y = tf.squeeze(y, -1)
    if y.shape[1:] == logits.shape[1:-1]:
        return tf.one_hot(tf.cast(y, tf.int64), classes, dtype=logits.dtype)
    raise UnsupportedError(
        f"{owner} received labels of shape {tuple(y.shape)} and type {y.dtype.name} for "
        f"logits of shape {tuple(logits.shape)}: its signal is made of one-hot labels of "
        f"{classes} classes; give such or whole numbers of classes, or train with 'lel'."
    )
