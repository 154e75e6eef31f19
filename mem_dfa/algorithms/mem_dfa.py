"""MEM-DFA: direct feedback alignment in memory that does not grow with depth (arXiv 2012.11745).

    first pass:   z = f_n(… f_1(x)),  e = dL/dz; nothing else is kept
    second pass:  for i = 1 … n:  a_i = f_i(a_{i-1}; W_i) again,  δ_i = e·B_i,
                  W_i ← W_i − η·G_iᵀ δ_i,  free a_{i-1}

a_i is computed before W_i changes, so the second pass sees the weights of the first and every
update equals DFA's. Alive at any time: x, e and two adjacent blocks.

A layer that draws with `tf.random` itself, rather than through a Keras seed generator, would draw
anew in the second pass. It is refused when the step is traced; eagerly it cannot be seen.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from mem_dfa.algorithms.random_feedback import RandomFeedback
from mem_dfa.block import Recording
from mem_dfa.errors import UnsupportedError
from mem_dfa.ordering import after, token
from mem_dfa.scopes import scope
from mem_dfa.update import Update, tiled_layers

STATEFUL_DRAWS = (
    "Multinomial",
    "ParameterizedTruncatedNormal",
    "RandomGammaV2",
    "RandomPoissonV2",
    "RandomShuffle",
    "RandomStandardNormal",
    "RandomUniform",
    "RandomUniformInt",
    "TruncatedNormal",
)


@keras.saving.register_keras_serializable("mem_dfa")
class MemDFA(RandomFeedback):
    """Two forward passes, the second with an update after each block."""

    def predict_step_bytes(self, batch_size: int) -> int:
        """The block at work and the output of the one before it."""
        peak = input_bytes = 0
        for block in self.chain.blocks:
            size = block.bytes(batch_size, tiled_layers(block, self.optimizer, compiled=False))
            peak = max(peak, input_bytes + size.update_peak)
            input_bytes = size.output
        return peak

    def update_blocks(
        self, inputs: tf.Tensor, y: Any, sample_weight: Any, update: Update
    ) -> tf.Tensor:
        """Forward for the error alone, then replay and update block by block."""
        activation = inputs
        for block in self.chain.blocks:
            # Seeds and moving statistics stay as they are, so that the second pass draws the same
            # dropout masks and moves the statistics once.
            activation = block.rehearse(activation, "forward")
        _refuse_unrepeatable_draws()
        error, outputs = self.output_error(inputs, activation, y, sample_weight)
        done = token([error])
        activation = inputs
        for block in self.chain.blocks:
            # a_i = f_i(a_{i-1}; W_i), not before block i-1 is updated and freed.
            tiled = tiled_layers(block, self.optimizer, self.jit_compile)
            recording = Recording(block, activation, "replay", earlier=done, tiled=tiled)
            activation = recording.outputs
            if not recording.variables:
                continue
            # δ_i = e·B_i, not before a_i is there.
            with scope("backward", block.name):
                late_error = after(error, token([activation]))
            signal = self.error_signal(block.name, late_error, activation.shape[1:])
            gradients = recording.gradients(signal, self.optimizer.scale_loss)
            del signal
            # W_i ← W_i − η·G_iᵀ δ_i
            done = update.apply(block.name, gradients, recording.variables)
            del gradients, recording
        return outputs


def _refuse_unrepeatable_draws() -> None:
    """Raise UnsupportedError for a random operation of the first pass that keeps its own state."""
    if tf.executing_eagerly():
        return
    for operation in tf.compat.v1.get_default_graph().get_operations():
        if operation.type in STATEFUL_DRAWS and operation.name.startswith("forward/"):
            raise UnsupportedError(
                f"Operation '{operation.name}' draws random numbers by tf.random, which a second "
                "forward pass cannot repeat: draw with keras.random and a "
                "keras.random.SeedGenerator, or train with 'dfa'."
            )
