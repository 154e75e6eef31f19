"""Direct feedback alignment (Nøkland, arXiv 1609.01596; SRBP in Baldi et al., 2018).

    δ_n = e,  δ_i = e·B_i,  W_i ← W_i − η·G_iᵀ δ_i

The error signal enters at a block's output, after its activation and pooling. Every activation is
kept from the forward pass until its block is updated: O(n), as in BP.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from mem_dfa.algorithms.random_feedback import RandomFeedback
from mem_dfa.chain.local_gradient import Recording
from mem_dfa.graph.ordering import after, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.optimizer.step import Update


@keras.saving.register_keras_serializable("mem_dfa")
class DFA(RandomFeedback):
    """One forward pass that keeps everything, then updates from the last block to the first."""

    def _predict_step_bytes(self, batch_size: int) -> int:
        """Every activation, freed block by block from the last to the first."""
        self.chain.require_known_bytes(batch_size)
        sizes = [block.bytes(batch_size) for block in self.chain.blocks]
        peak = kept = sum(size.kept for size in sizes)
        for size in reversed(sizes):
            kept -= size.kept
            peak = max(peak, kept + size.update_peak)
        return peak

    def update_blocks(
        self, inputs: tf.Tensor, y: Any, sample_weight: Any, update: Update
    ) -> tf.Tensor:
        """Forward through all blocks, then project, differentiate and update each."""
        recordings = []
        activation = inputs
        for block in self.chain.blocks:
            # a_i = f_i(a_{i-1}; W_i)
            recordings.append(Recording(block, activation, "forward"))
            activation = recordings[-1].outputs
        error, outputs = self.output_error(inputs, activation, y, sample_weight)
        del activation
        done = token([error])
        while recordings:
            recording = recordings.pop()
            if not recording.variables:
                continue
            block, shape = recording.block, recording.outputs.shape[1:]
            # δ_i = e·B_i, one block at a time: all of them at once would be as large as the
            # activations.
            with scope("backward", block.name):
                late_error = after(error, done)
            signal = self.error_signal(block.name, late_error, shape)
            gradients = recording.gradients(signal, self.optimizer.scale_loss)
            # W_i ← W_i − η·G_iᵀ δ_i
            done = update.apply(block.name, gradients, recording.variables)
        return outputs
