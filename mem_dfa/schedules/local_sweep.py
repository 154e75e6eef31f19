"""Local sweep: one forward pass, in which each block is updated as soon as it has run.

    for i = 1 … n:  a_i = f_i(a_{i-1}; W_i),  δ_i by a head of a_i and the targets, δ_n = e,
                    W_i ← W_i − η·G_iᵀ δ_i,  free a_{i-1}

a_i is computed before W_i changes. Alive at any time: the batch and two adjacent blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

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
            learned: Sequence[tf.Tensor] = ()
            if block is self._blocks[-1]:
                error = targets.error_of(activation)
            elif recording.variables:
                labels = targets.y, targets.sample_weight
                error, learned = self._signal.signal(block, activation, *labels)
            else:
                continue
            gradients = [*recording.gradients(error, self._scale_loss), *learned]
            # W_i ← W_i − η·G_iᵀ δ_i, and what is learned with the block
            done = self._update.apply(block.name, gradients, self._trained(block))
