"""A local sweep over examples with true labels, wrong ones and none, normalised between blocks.

h_0 = x/√mean(x²)
for i = 1 … n−1:  a_i = f_i(h_{i-1}; W_i),  δ_i by the goodness of a_i,
                  W_i ← W_i − η·G_iᵀ δ_i,  h_i = a_i/√mean(a_i²),  free h_{i-1}
z = f_n(h_{n-1}) of the examples without a label,  δ_n = e = dL/dz
"""

from __future__ import annotations

import tensorflow as tf

from mem_dfa.chain.local_gradient import Recording
from mem_dfa.feedback.goodness import Goodness, normalised
from mem_dfa.graph.ordering import after
from mem_dfa.graph.profile_scope import scope
from mem_dfa.schedules.schedule import Schedule, Targets


class GoodnessSweep(Schedule):
    """Hidden blocks learn to tell true labels from wrong ones, the last one to name them."""

    _signal: Goodness

    def run(self, inputs: tf.Tensor, targets: Targets) -> None:
        """Run, differentiate, update and free block by block."""
        *hidden, last = self._blocks
        activation, done = self._signal.examples(inputs, targets.y), None
        for block in hidden:
            with scope("forward", block.name):
                activation = normalised(after(activation, done))
            tiled = self._update.tiled_layers(block)
            # a_i = f_i(h_{i-1}; W_i)
            recording = Recording(block, activation, "forward", done, tiled=tiled)
            activation = recording.outputs
            if recording.variables:
                error = self._signal.signal(block, activation, targets.sample_weight)
                gradients = recording.gradients(error, self._scale_loss)
                # W_i ← W_i − η·G_iᵀ δ_i
                done = self._update.apply(block.name, gradients, self._trained(block))
            del recording
        with scope("forward", last.name):
            activation = normalised(tf.split(after(activation, done), 3)[2])
        tiled = self._update.tiled_layers(last)
        recording = Recording(last, activation, "forward", done, tiled=tiled)
        error = targets.error_of(recording.outputs)
        if recording.variables:
            gradients = recording.gradients(error, self._scale_loss)
            self._update.apply(last.name, gradients, self._trained(last))
