"""Blocks trained by the output error through a fixed random matrix each."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from mem_dfa.algorithms.base import FeedbackAlgorithm, variable_bytes
from mem_dfa.algorithms.blockwise import Blockwise
from mem_dfa.chain import Chain
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback import for_matrix
from mem_dfa.scopes import scope


class RandomFeedback(FeedbackAlgorithm, Blockwise):
    """Blocks whose error signal is δ_i = e·B_i: what DFA and MEM-DFA share.

    The schedule, `update_blocks`, is each algorithm's own.
    """

    def _draw_feedback(self) -> None:
        """Cut the network into blocks and draw a feedback matrix for each but the last."""
        self._chain = Chain.from_model(self.network)
        *hidden, last = self._chain.blocks
        self._feedback: dict[str, keras.Variable] = {}
        # One seed a block, independent of which blocks are frozen.
        seeds = np.random.default_rng(self.seed).integers(2**31 - 1, size=len(hidden) + 1)
        for block, block_seed in zip(hidden, seeds, strict=False):
            if block.trainable_variables:
                self._feedback[block.name] = self.add_weight(
                    shape=(last.width, block.width),
                    initializer=for_matrix(
                        self.feedback_initializer, last.width, block.width, int(block_seed)
                    ),
                    trainable=False,
                    name=f"feedback_{block.name}",
                )

    @property
    def chain(self) -> Chain:
        """The network as this algorithm cuts it."""
        return self._chain

    @property
    def feedback_bytes(self) -> int:
        """Bytes of the feedback matrices that are held: C·Σn_i values."""
        return variable_bytes(list(self._feedback.values()))

    def _refuse_at_compile(self) -> None:
        super()._refuse_at_compile()
        name = type(self).__name__
        for block in self._chain.blocks[:-1]:
            if block.trainable_variables and block.name not in self._feedback:
                raise UnsupportedError(
                    f"{name}: {block.name} was frozen when the trainer was made and has no "
                    "feedback matrix: unfreeze its layers before making the trainer."
                )

    def error_signal(self, block: str, error: tf.Tensor, width: tuple[int, ...]) -> tf.Tensor:
        """δ_i from the output error.

        Args:
            block: name of block i; the last block's error signal is e itself.
            error: e = dL/dz, shape (batch, ...).
            width: shape of a_i without its batch axis.

        Returns:
            δ_i, shape (batch, *width).
        """
        batch = tf.shape(error)[0]
        if block == self._chain.blocks[-1].name:
            return error
        with scope("backward", block):
            feedback = self.feedback_matrix(block, error)
            # δ_i = e·B_i
            return tf.reshape(tf.reshape(error, [batch, -1]) @ feedback, [batch, *width])

    def feedback_matrix(self, block: str, error: tf.Tensor) -> tf.Tensor:
        """B_i, shape (C, n_i), in the dtype of the error."""
        return tf.cast(self._feedback[block].value, error.dtype)
