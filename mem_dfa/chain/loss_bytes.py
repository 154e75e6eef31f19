"""What a loss and its gradient take beside the logits, from operations that never run."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.random_state import restored_draws
from mem_dfa.shapes.graph_walk import walk
from mem_dfa.shapes.layer_bytes import spec_bytes

# Branches of a loss run in any order. Measured beside e, of binary crossentropy: 1.24 times as much
# as is counted.
MARGIN = 0.25


def loss_bytes(loss: Any, head: Block, logits: keras.KerasTensor) -> int:
    """Bytes at the peak, at most, e = dL/dz among them; 0 where the loss cannot run by itself.

    Args:
        loss: as `keras.Model.compile` takes it. Labels are like the outputs, or whole numbers in
            place of their last axis.
        head: what makes outputs of the logits; may be empty.
        logits: z, of a batch of known size.
    """
    outputs = head.follow(logits) if head.atoms else logits
    for shape, dtype in ((outputs.shape, outputs.dtype), (outputs.shape[:-1], "int32")):
        try:
            peak = _traced_bytes(loss, head, logits, tf.TensorSpec(shape, dtype))
        except Exception:  # other labels, or a user's own loss, which may fail in any way
            continue
        return peak + int(MARGIN * max(0, peak - spec_bytes(logits)))
    return 0


def _traced_bytes(loss: Any, head: Block, logits: keras.KerasTensor, labels: tf.TensorSpec) -> int:
    passes: dict[str, Any] = {}

    def run(z: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = keras.losses.get(loss)(y, head.run(z, "forward"))
        error = tape.gradient(value, z)
        passes.update(inputs=[z, y], outputs=[value], gradients=[error])

    with restored_draws():
        signature = tf.TensorSpec(logits.shape, logits.dtype), labels
        graph = tf.function(run).get_concrete_function(*signature).graph
    return walk(graph.get_operations(), errors=[], **passes).peak
