"""PEPITA: two forward passes and no backward one (Dellaferrera and Kreiman, ICML 2022).

    first pass:   z = f_n(… f_1(x)),  e = p − y,  x' = x + e·F
    second pass:  for i = 1 … n:  a_i from a_{i-1} again,  a'_i from a'_{i-1},
                  W_i ← W_i − η·a'_{i-1}ᵀ (a_i − a'_i)/B,  W_n ← W_n − η·a'_{n-1}ᵀ e'/B

F, shape (C, n_0), is random and stays as it is. The paper's code keeps the first pass's a_i; run
again beside a'_i they are the same, because a_i is computed before W_i changes. Alive at any time:
x, x' and two adjacent blocks of both.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from mem_dfa.algorithms.blockwise import Blockwise
from mem_dfa.chain.linear_blocks import opened
from mem_dfa.feedback.input_modulation import InputModulation
from mem_dfa.feedback.logits import error_at
from mem_dfa.optimizer.step import Update
from mem_dfa.schedules.modulated import Modulated
from mem_dfa.schedules.schedule import Targets
from mem_dfa.shapes.layer_bytes import spec_bytes, variable_bytes
from mem_dfa.shapes.layer_calls import spec_of


@keras.saving.register_keras_serializable("mem_dfa")
class PEPITA(Blockwise):
    """A second forward pass whose signals are differences of activations."""

    signal: InputModulation

    def __init__(self, network: keras.Model, **details: Any) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            **details: `seed`, which F is drawn from, and `name`.

        Raises:
            UnsupportedError: the network cannot be cut; a block holds weights beside those of one
                dense or convolutional layer; the input is not of fixed shape, or of whole numbers.
        """
        super().__init__(network, **details)
        name = type(self).__name__
        self.opened = [opened(name, block) for block in self.chain.blocks[:-1]]
        self.signal = InputModulation(self)

    def schedule(self, update: Update, batch_size: int | None) -> Modulated:
        """Forward for the error, then forward with and without it, each block updated."""
        given = (type(self).__name__, self.chain.blocks, self.signal, update)
        return Modulated(*given, opened=self.opened, error_again=self._error_again)

    def _error_again(self, inputs: tf.Tensor, logits: tf.Tensor, targets: Targets) -> tf.Tensor:
        return error_at(self, logits, targets.y, targets.sample_weight, inputs)

    def _predict_step_bytes(self, batch_size: int) -> int:
        """Two outputs of the block at work beside its inputs, or three beside the modulated one."""
        self.chain.require_known_bytes(batch_size)
        peak, before = 0, 0  # the batch is there before the step
        modulated = spec_bytes(spec_of(self.chain.input, batch_size))
        for parts in self.opened:
            made = spec_bytes(spec_of(parts.linear.output, batch_size))
            gradients = variable_bytes(parts.whole.trainable_variables)
            peak = max(peak, before + modulated + 2 * made, modulated + 3 * made + gradients)
            before = modulated = parts.whole.bytes(batch_size).output
        return peak
