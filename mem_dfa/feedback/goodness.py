"""Goodness of a block's output, high for true labels and low for wrong ones (Hinton, 2022).

g_i = mean(a_i²),  L_i = softplus(−(g_i − θ)) for true labels, softplus(g_i − θ) for wrong ones
δ_i = ∂L_i/∂a_i = ∓σ(∓(g_i − θ))·2·a_i/n_i
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.logits import one_hot
from mem_dfa.feedback.signal import Signal
from mem_dfa.graph.ordering import after, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.graph.step_seeds import batches_so_far

THRESHOLD = 1.0
"""θ. Of an output whose squares are 1 on average."""
SMALL = 1e-8


class Goodness(Signal):
    """A batch of three parts: examples with their labels, with wrong ones, and with none."""

    def __init__(self, trainer: Any) -> None:
        """Look at the trainer's `chain` and `seed`.

        Raises:
            UnsupportedError: the input has no room for a label; a hidden block's output is no
                vector of fixed size.
        """
        self._trainer, self._owner = trainer, type(trainer).__name__
        chain = trainer.chain
        self._logits, shape = chain.blocks[-1].output, chain.input.shape[1:]
        self._classes = chain.blocks[-1].width
        size = None if None in shape else math.prod(shape)
        dense = not chain.input.sparse and keras.backend.is_float_dtype(chain.input.dtype)
        if size is None or size < self._classes or not dense:
            raise UnsupportedError(
                f"{self._owner} received an input of shape {tuple(chain.input.shape)} and type "
                f"{chain.input.dtype}: a label of {self._classes} classes takes the place of its "
                "first values, which needs dense floats of a fixed shape; train with 'lel'."
            )
        for block in chain.blocks[:-1]:
            if len(block.output_shape) != 2:
                raise UnsupportedError(
                    f"{self._owner} received {block.name} ({block.layer_names}), which ends in "
                    f"shape {block.output_shape}: hidden blocks are dense ones; train with 'lel'."
                )

    def examples(self, inputs: tf.Tensor, y: Any) -> tf.Tensor:
        """The three parts, shape (3·batch, ...).

        Args:
            inputs: x, shape (batch, ...).
            y: the labels, as they were given.

        Raises:
            UnsupportedError: the labels are neither one-hot nor numbers of classes.
        """
        with scope("forward", "labels"):
            true = one_hot(self._owner, y, self._logits)
            # Drawn by batch, so that nothing is stored.
            number = tf.cast(batches_so_far(self._trainer.optimizer), tf.int32)
            seed = tf.stack([self._trainer.seed, number])
            shift = tf.random.stateless_uniform(
                tf.shape(true)[:1], seed, 1, self._classes, dtype=tf.int32
            )
            wrong = (tf.argmax(true, -1, output_type=tf.int32) + shift) % self._classes
            wrong = tf.one_hot(wrong, self._classes, dtype=true.dtype)
            parts = [self.labelled(inputs, label) for label in (true, wrong)]
            return tf.concat([*parts, self.unlabelled(inputs)], 0)

    def unlabelled(self, inputs: tf.Tensor) -> tf.Tensor:
        """Inputs with every class alike in the place of a label, as `labelled`."""
        alike = tf.constant(1 / self._classes, inputs.dtype)
        alike = tf.fill([tf.shape(inputs)[0], self._classes], alike)
        return self.labelled(inputs, alike)

    def labelled(self, inputs: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        """Inputs whose first values are the label.

        Args:
            inputs: shape (batch, ...).
            label: shape (batch, classes).

        Returns:
            Shape of the inputs.
        """
        flat = tf.reshape(inputs, [tf.shape(inputs)[0], -1])
        written = tf.concat([tf.cast(label, flat.dtype), flat[:, self._classes :]], 1)
        return tf.reshape(written, tf.shape(inputs))

    def signal(self, block: Block, outputs: tf.Tensor, sample_weight: Any) -> tf.Tensor:
        """δ_i of the three parts, 0 of the last one.

        Args:
            block: which.
            outputs: a_i, shape (3·batch, n_i), before which nothing of it is made.
            sample_weight: of the batch, as it was given, or None.

        Returns:
            δ_i, shape of a_i, times the optimizer's loss scale.
        """
        with scope("backward", block.name):
            outputs = after(outputs, token([outputs]))
            batch = tf.shape(outputs)[0] // 3
            ones = tf.ones([batch], outputs.dtype)
            sign = tf.concat([ones, -ones, 0 * ones], 0)
            # g_i = mean(a_i²)
            goodness = tf.reduce_mean(outputs**2, -1)
            # ∂L_i/∂g_i = ∓σ(∓(g_i − θ)), the mean over both parts
            slope = -sign * tf.sigmoid(-sign * (goodness - THRESHOLD))
            slope /= tf.cast(2 * batch, outputs.dtype)
            if sample_weight is not None:
                slope *= tf.tile(tf.cast(tf.reshape(sample_weight, [-1]), outputs.dtype), [3])
            slope = tf.cast(self._trainer.optimizer.scale_loss(slope), outputs.dtype)
            # δ_i = ∂L_i/∂g_i · 2·a_i/n_i
            return (slope * 2 / block.width)[:, tf.newaxis] * outputs


def normalised(activation: tf.Tensor) -> tf.Tensor:
    """h_i = a_i/√mean(a_i²) of each example, so that no block sees the goodness before it."""
    axes = list(range(1, len(activation.shape)))
    return activation * tf.math.rsqrt(tf.reduce_mean(activation**2, axes, keepdims=True) + SMALL)
