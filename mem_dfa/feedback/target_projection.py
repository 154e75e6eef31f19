"""The targets through a fixed random matrix for each block: δ_n = e, δ_i = −y·B_i / B."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.feedback.logits import one_hot, refuse_no_mean
from mem_dfa.feedback.output_feedback import OutputFeedback
from mem_dfa.feedback.signal import LocalSignal
from mem_dfa.graph.ordering import after, token
from mem_dfa.graph.profile_scope import scope


class TargetProjection(OutputFeedback, LocalSignal):
    """Output feedback in which −y/B, with y one-hot, takes the place of e."""

    def __init__(self, trainer: Any, *details: Any) -> None:
        """Make a feedback matrix for each block but the last; see `OutputFeedback`."""
        super().__init__(trainer, *details)
        self._trainer = trainer
        self.refuse_learned()

    def signal(
        self, block: Block, outputs: tf.Tensor, y: Any, sample_weight: Any
    ) -> tuple[tf.Tensor, tuple[()]]:
        """δ_i = −y·B_i / B, with the examples' weights; see `LocalSignal.signal`.

        Raises:
            UnsupportedError: the labels are neither one-hot nor numbers of classes.
        """
        logits = self._chain.blocks[-1].output
        with scope("backward", block.name):
            target = -one_hot(self._owner, y, logits)
            if sample_weight is not None:
                weight = tf.cast(tf.convert_to_tensor(sample_weight), target.dtype)
                ranks = len(target.shape) - len(weight.shape)
                target *= weight[(..., *[tf.newaxis] * ranks)]
            # Keras's mean is over all that has a label: examples, or positions in them.
            labels = tf.reduce_prod(tf.shape(target)[:-1])
            target /= tf.cast(labels, target.dtype)
            # All projections would otherwise start with the step.
            target = after(self._trainer.optimizer.scale_loss(target), token([outputs]))
        return self.project(block, target), ()

    def refuse_at_compile(self, loss: Any) -> None:
        """Raise UnsupportedError where e cannot be had at the logits, or the loss is no mean."""
        super().refuse_at_compile(loss)
        refuse_no_mean(self._owner, loss, "signal −y·B")
