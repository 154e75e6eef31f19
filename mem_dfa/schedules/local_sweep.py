"""Local sweep: one forward pass, in which each block is updated as soon as it has run.

    for i = 1 … n:  a_i = f_i(a_{i-1}; W_i),  δ_i by a head of a_i and the targets, δ_n = e,
                    W_i ← W_i − η·G_iᵀ δ_i,  free a_{i-1}

a_i is computed before W_i changes. Alive at any time: the batch and two adjacent blocks.
"""

from __future__ import annotations

import tensorflow as tf

from mem_dfa.chain.local_gradient import Recording
from mem_dfa.feedback.signal import LocalSignal
from mem_dfa.schedules.schedule import Schedule, Targets


class LocalSweep(Schedule):
    """Each block not before the one before it is updated; for signals that need no other block."""

    _signal: LocalSignal

    def run(self, inputs: tf.Tensor, targets: Targets) -> None:
        """Run, differentiate, update and free block by block."""
        activation, done = inputs, None
        for block in self._blocks:
            tiled = self._update.tiled_layers(block)
            # a_i = f_i(a_{i-1}; W_i)
            recording = Recording(block, activation, "forward", done, tiled=tiled)
            activation = recording.outputs
            if block is self._blocks[-1]:
                error = targets.error_of(activation)
            elif recording.variables:
                error = self._signal.signal(block, activation, targets.y, targets.sample_weight)
            else:
                continue
            done = self._update_by(recording, activation, error)

    def _update_by(
        self, recording: Recording, outputs: tf.Tensor, error: tf.Tensor
    ) -> tf.Tensor | None:
        """W_i updated by δ_i, and a token of that."""
        block = recording.block
        gradients = recording.gradients(error, self._scale_loss)
        if self._signal.learned(block):
            gradients += self._signal.learn(block, outputs, error, gradients)
        # W_i ← W_i − η·G_iᵀ δ_i
        return self._update.apply(block.name, gradients, self._trained(block))
