"""dL/dz at logits that are not the step's own, of which nothing is logged."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from mem_dfa.graph.profile_scope import scope
from mem_dfa.memory.whole_pass import kept_trackers


def untracked_error(
    trainer: Any, inputs: tf.Tensor | None, logits: tf.Tensor, y: Any, sample_weight: Any
) -> tf.Tensor:
    """dL/dz, which goes through the model's last activation, if it has one, and into the loss.

    Args:
        trainer: a blockwise one, which is compiled.
        inputs: x, for a trainer whose `compute_loss` is its own; None where it is not at hand.
        logits: z, shape of the chain's logits.
        y: the labels, as they were given.
        sample_weight: as it was given, or None.

    Returns:
        dL/dz times the optimizer's loss scale, shape of z.
    """
    with scope("forward", "loss"), tf.GradientTape() as tape, kept_trackers(trainer):
        tape.watch(logits)
        outputs = trainer.chain.head.run(logits, "forward")
        loss = trainer._compute_loss(inputs, y, outputs, sample_weight, training=True)
        scaled = trainer.optimizer.scale_loss(loss)
    with scope("backward", "loss"):
        # A loss without a gradient is refused where e is made.
        zero = tf.UnconnectedGradients.ZERO
        return tf.convert_to_tensor(tape.gradient(scaled, logits, unconnected_gradients=zero))
