"""Forward-Forward (Hinton, arXiv 2212.13345): each block tells true labels from wrong ones.

    the batch three times: with true labels, with wrong ones, and with none, in the first C values
    for i = 1 … n−1:  a_i = f_i(h_{i-1}; W_i),  g_i = mean(a_i²),
                      L_i = softplus(∓(g_i − θ)),  W_i ← W_i − η·G_iᵀ ∂L_i/∂a_i,
                      h_i = a_i/√mean(a_i²)
    read-out:         z = f_n(h_{n-1}) of the examples without a label,  δ_n = e

The user's last layer is the read-out, which only sees what the hidden blocks hand on. What the
trainer evaluates and predicts is normalised between blocks as in training, and has no label in it;
the network alone does neither.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from mem_dfa.algorithms.blockwise import Blockwise
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.goodness import Goodness, normalised
from mem_dfa.memory.batch_slices import chain_peak_bytes
from mem_dfa.optimizer.step import Update
from mem_dfa.schedules.goodness_sweep import GoodnessSweep
from mem_dfa.shapes.layer_bytes import spec_bytes
from mem_dfa.shapes.layer_calls import spec_of


@keras.saving.register_keras_serializable("mem_dfa")
class ForwardForward(Blockwise):
    """A local sweep whose signal is the goodness of a block's output."""

    signal: Goodness

    def __init__(self, network: keras.Model, **details: Any) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model of dense layers; the first C values of
                an example, such as dark pixels, are written over by its label.
            **details: `seed`, which wrong labels are drawn from, and `name`.

        Raises:
            UnsupportedError: the network cannot be cut; a hidden block is not dense; the input has
                no room for a label.
        """
        super().__init__(network, **details)
        self.signal = Goodness(self)

    def schedule(self, update: Update, batch_size: int | None) -> GoodnessSweep:
        """Run, differentiate and update block by block."""
        return GoodnessSweep(type(self).__name__, self.chain.blocks, self.signal, update)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The read-out's output for examples without a label."""
        activation = self.signal.unlabelled(tf.convert_to_tensor(inputs))
        for block in self.chain.blocks:
            activation = block.run(normalised(activation), "forward", bool(training))
        return self.chain.head.run(activation, "forward", bool(training))

    def export(self, *args: Any, **kwargs: Any) -> Any:
        """Not of this algorithm.

        Raises:
            UnsupportedError: always: the network alone does not normalise between blocks.
        """
        raise UnsupportedError(
            "ForwardForward received export(), which is of the network alone, and that does not "
            "normalise between blocks as it was trained to: save the trainer, and predict with it."
        )

    def _predict_step_bytes(self, batch_size: int) -> int:
        """The block at work on three times the batch, and what the block before it handed on."""
        blocks, three = self.chain.blocks, 3 * batch_size
        self.chain.require_known_bytes(three)
        examples = spec_bytes(spec_of(self.chain.input, three))
        peaks = [chain_peak_bytes(blocks, [1] * len(blocks), three), 2 * examples]
        return max(peaks[0], examples + blocks[0].bytes(three).update_peak, *peaks)
