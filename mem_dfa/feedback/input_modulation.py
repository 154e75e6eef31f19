"""The output error at the input: x' = x + e·F, with a fixed random F."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.logits import refuse_no_mean
from mem_dfa.feedback.signal import Signal
from mem_dfa.graph.profile_scope import scope

SCALE = 0.05


class InputModulation(Signal):
    """F, shape (C, n_0), drawn from U(±0.05·√(6/n_0)), as in the paper's code."""

    def __init__(self, trainer: Any) -> None:
        """Draw F.

        Args:
            trainer: which holds and saves it: its `chain` and `seed` are looked at.

        Raises:
            UnsupportedError: the input is not of fixed shape, or of whole numbers.
        """
        self._owner, declared = type(trainer).__name__, trainer.chain.input
        shape = declared.shape[1:]
        if None in shape or declared.sparse or not keras.backend.is_float_dtype(declared.dtype):
            kind = "sparse " * bool(declared.sparse) + declared.dtype
            raise UnsupportedError(
                f"{self._owner} received an input of shape {tuple(declared.shape)} and type "
                f"{kind}: the error is added to it, which needs dense floats of a fixed shape; "
                "train with 'mem_dfa'."
            )
        size = math.prod(shape)
        limit = SCALE * math.sqrt(6 / size)
        draw = np.random.default_rng(trainer.seed)
        classes = trainer.chain.blocks[-1].width
        self._matrix = trainer.add_weight(
            shape=(classes, size),
            initializer=lambda shape, dtype: tf.constant(draw.uniform(-limit, limit, shape), dtype),
            trainable=False,
            name="input_feedback",
        )

    @property
    def held(self) -> Sequence[keras.Variable]:
        """F."""
        return [self._matrix]

    def refuse_at_compile(self, loss: Any) -> None:
        """Raise UnsupportedError where the loss is no mean over the batch."""
        refuse_no_mean(self._owner, loss, "error of one example, B·e,")

    def modulated(self, inputs: tf.Tensor, error: tf.Tensor) -> tf.Tensor:
        """X' = x + e·F.

        Args:
            inputs: x, shape (batch, ...).
            error: e of each example by itself, not divided by the batch, shape (batch, ...).

        Returns:
            x', shape of x.
        """
        with scope("replay", "input"):
            flat = tf.reshape(error, [tf.shape(error)[0], -1])
            added = tf.cast(flat, inputs.dtype) @ tf.cast(self._matrix, inputs.dtype)
            return inputs + tf.reshape(added, tf.shape(inputs))
