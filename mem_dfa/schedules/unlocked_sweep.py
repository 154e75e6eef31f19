"""Unlocked sweep: a bootstrapped sweep in which blocks run on synthetic inputs.

for i = 1 … n:  â_{i-1} = I_i(x; ψ_i),  â_0 = x,  ψ_i trained on a_{i-1},
                a_i = f_i(â_{i-1}; W_i),  and the rest as in a bootstrapped sweep
"""

from __future__ import annotations

import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.feedback.synthetic_inputs import SyntheticInputs
from mem_dfa.graph.profile_scope import scope
from mem_dfa.schedules.bootstrapped_sweep import BootstrappedSweep


class UnlockedSweep(BootstrappedSweep):
    """No block needs another's output to run, or another's error signal to be updated.

    They run one after another all the same, so that one at a time is held.
    """

    _signal: SyntheticInputs

    def _input_of(
        self, block: Block, activation: tf.Tensor, inputs: tf.Tensor, done: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """â_{i-1} of the old ψ_i, which is then trained on a_{i-1}."""
        if block is self._blocks[0]:
            return activation, done
        net = self._signal.inputs[block.name]
        tiled = self._update.tiled_layers(net)
        # â_{i-1} = I_i(x; ψ_i)
        recording = self._signal.recorded_input(block, inputs, done, tiled)
        synthetic = recording.outputs
        with scope("backward", block.name):
            true = tf.cast(tf.reshape(activation, tf.shape(synthetic)), synthetic.dtype)
            # ∂L/∂â_{i-1} = (â_{i-1} − a_{i-1}) / B
            error = self._signal.signal_of(synthetic - true)
        gradients = recording.gradients(error, self._scale_loss)
        done = self._update.apply(block.name, gradients, net.trainable_variables)
        with scope("forward", block.name):
            return tf.cast(tf.reshape(synthetic, tf.shape(activation)), activation.dtype), done
