"""Losses of a block's own: of a linear classifier, and of how alike its outputs are.

    L_pred = L(z_i),  z_i = pool(a_i)·C_i + c_i
    L_sim  = mean (S(u_i) − S(y))²,  u_i = a_i·R_i, of an image the deviations of a_i ∗ R_i

Nøkland and Eidnes (arXiv 1901.06656). S is that of `similarities`, y one-hot; C_i and c_i start at
zero, R_i as they have it, U(±1/√fan-in), with windows of 3 for an image. Examples' weights count in
L_pred as in the net's loss; in L_sim a pair of examples has the product of its weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.features import Features
from mem_dfa.feedback.heads import zero_classifier
from mem_dfa.feedback.logits import loss_at, one_hot
from mem_dfa.feedback.similarity import deviations, similarities
from mem_dfa.graph.ordering import after, token
from mem_dfa.shapes.layer_bytes import spec_bytes, tensor_bytes

FEW_CHANNELS = 3
"""Of an image with so many the values are compared, not the channels' deviations."""


class BlockLoss(ABC):
    """A loss of one block's output, and what is trained for it."""

    def __init__(self, trainer: Any, block: Block, features: Features) -> None:
        """Prepare for a block.

        Args:
            trainer: that holds what is trained.
            block: which.
            features: of its output.
        """
        self._trainer, self._block, self._features = trainer, block, features
        self._last: Block = trainer.chain.blocks[-1]
        self.variables: Sequence[keras.Variable] = ()

    @abstractmethod
    def of(self, outputs: tf.Tensor, y: Any, sample_weight: Any) -> tf.Tensor:
        """The loss of a_i, a scalar, times the optimizer's loss scale.

        Args:
            outputs: a_i.
            y: the labels, as they were given.
            sample_weight: as it was given, or None.
        """

    @abstractmethod
    def step_bytes(self, batch_size: int) -> int:
        """Of what is there beside a_i at most, while the loss and its gradient are made."""

    def output_bytes(self, batch_size: int) -> int:
        """Of a_i, and of δ_i."""
        output = self._block.output
        return spec_bytes(keras.KerasTensor((batch_size, *output.shape[1:]), output.dtype))


class PredictionLoss(BlockLoss):
    """L_pred: the net's loss for the logits of a linear classifier."""

    def __init__(self, trainer: Any, block: Block, features: Features, seed: int) -> None:
        """Make the classifier; see `BlockLoss`. Nothing of it is drawn."""
        super().__init__(trainer, block, features)
        self._kernel, self._bias = zero_classifier(trainer, block, [features.count])
        self.variables = self._kernel, self._bias

    def of(self, outputs: tf.Tensor, y: Any, sample_weight: Any) -> tf.Tensor:
        """L_pred = L(z_i)."""
        pooled = tf.reshape(self._features.of(outputs), [-1, self._features.count])
        # z_i = pool(a_i)·C_i + c_i
        logits = tf.matmul(tf.cast(pooled, self._kernel.dtype), self._kernel.value)
        return loss_at(self._trainer, logits + self._bias.value, y, sample_weight)

    def step_bytes(self, batch_size: int) -> int:
        """Of δ_i, and of the features with their gradient where they are averages."""
        features = tensor_bytes((batch_size, self._features.count), self._kernel.dtype)
        return self.output_bytes(batch_size) + features * self._features.is_pooled


class SimilarityLoss(BlockLoss):
    """L_sim: whether examples are as alike as their labels."""

    def __init__(self, trainer: Any, block: Block, features: Features, seed: int) -> None:
        """Draw the projection; see `BlockLoss`.

        Raises:
            UnsupportedError: one class, of which none are alike.
        """
        super().__init__(trainer, block, features)
        self._owner = type(trainer).__name__
        if self._last.output_shape[-1] == 1:
            raise UnsupportedError(
                f"{self._owner} received a model of one logit, whose labels are not one-hot to be "
                "compared: use local_loss='prediction'."
            )
        window = [3] * len(features.sizes)
        self._projection = trainer.add_weight(
            shape=(*window, features.channels, features.channels),
            # U(±1/√fan-in)
            initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed),
            name=f"{block.name}_projection",
        )
        self.variables = [self._projection]
        self._by_deviations = max(features.sizes, default=1) > 1 and (
            features.channels > FEW_CHANNELS
        )

    def of(self, outputs: tf.Tensor, y: Any, sample_weight: Any) -> tf.Tensor:
        """L_sim = mean (S(u_i) − S(y))².

        Raises:
            UnsupportedError: the labels are neither one-hot nor numbers of classes.
        """
        labels = one_hot(self._owner, y, self._last.output)
        # They depend on no block: those of every block would be made when the step starts.
        labels = tf.cast(after(labels, token([outputs])), self._projection.dtype)
        difference = similarities(self._projected(outputs))
        difference -= similarities(tf.reshape(labels, [-1, self._last.width]))
        squares = tf.square(difference)
        if sample_weight is not None:
            weight = tf.cast(tf.convert_to_tensor(sample_weight), squares.dtype)
            weight = tf.reduce_mean(tf.reshape(weight, [tf.shape(weight)[0], -1]), axis=1)
            squares *= weight * weight[:, tf.newaxis]
        return self._trainer.optimizer.scale_loss(tf.reduce_mean(squares))

    def _projected(self, outputs: tf.Tensor) -> tf.Tensor:
        """u_i, shape (batch, n)."""
        image = self._features.image(outputs)
        kernel, dtype = tf.cast(self._projection.value, outputs.dtype), self._projection.dtype
        if not self._features.sizes:
            return tf.cast(image @ kernel, dtype)
        projected = tf.cast(tf.nn.convolution(image, kernel, padding="SAME"), dtype)
        if self._by_deviations:
            return deviations(projected)
        return tf.reshape(projected, [-1, self._block.width])

    def step_bytes(self, batch_size: int) -> int:
        """Of u_i and as much again: its squares, or its rows of length 1; and of two S.

        Two gradients of these rows, which S has on both sides, are there with one S.
        """
        projected = tensor_bytes((batch_size, self._block.width), self._projection.dtype)
        similarity = tensor_bytes((batch_size, batch_size), self._projection.dtype)
        rows = 0 if self._by_deviations else projected
        return 2 * projected + similarity + max(similarity, 2 * rows)
