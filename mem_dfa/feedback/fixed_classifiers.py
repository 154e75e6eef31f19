"""A fixed random classifier for each block: z_i = a_i·B_iᵀ, e_i = dL/dz at z_i, δ_i = e_i·B_i."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.feedback.logits import error_at
from mem_dfa.feedback.output_feedback import OutputFeedback
from mem_dfa.feedback.signal import LocalSignal
from mem_dfa.graph.profile_scope import scope


class FixedClassifiers(OutputFeedback, LocalSignal):
    """Feedback matrices of which the transposed classify each block's output.

    z_i goes the way of the logits: through the model's last activation, if it has one, and into
    the loss.
    """

    def __init__(self, trainer: Any, *details: Any) -> None:
        """Make a matrix for each block but the last; see `OutputFeedback`."""
        super().__init__(trainer, *details)
        self._trainer = trainer
        self.refuse_learned()

    def signal(
        self, block: Block, outputs: tf.Tensor, y: Any, sample_weight: Any
    ) -> tuple[tf.Tensor, tuple[()]]:
        """δ_i = dL/da_i of the block's own classifier; see `LocalSignal.signal`."""
        batch = tf.shape(outputs)[0]
        flat = tf.reshape(outputs, [batch, block.width])
        with scope("backward", block.name):
            matrix = self.matrices.matrix(block, flat)
            # z_i = a_i·B_iᵀ
            logits = tf.matmul(flat, matrix, transpose_b=True)
        # e_i = dL/dz at z_i
        error = error_at(self._trainer, logits, y, sample_weight)
        with scope("backward", block.name):
            # δ_i = e_i·B_i
            signal = error @ matrix
            return tf.reshape(signal, [batch, *block.output_shape[1:]]), ()
