"""A second forward pass of the batch and of the modulated batch, side by side.

    first pass:   z = f_n(… f_1(x)),  e = p − y = B·dL/dz;  x' = x + e·F;  nothing else is kept
    second pass:  for i = 1 … n:  a_i = f_i(a_{i-1}; W_i) again,  a'_i = f_i(a'_{i-1}; W_i),
                  δ_i = (a_i − a'_i)/B,  δ_n = e'/B at z',
                  W_i ← W_i − η·(∂(W_i a'_{i-1})/∂W_i)ᵀ δ_i,  free a_{i-1} and a'_{i-1}

No error signal passes through a layer, not even through an activation: δ_i stands at the output
of the block's linear map. a_i and a'_i are taken after what keeps the shape, such as an activation,
and before what does not, such as pooling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.linear_blocks import LinearBlock
from mem_dfa.chain.local_gradient import Recording
from mem_dfa.chain.rehearsal import Rehearsal
from mem_dfa.feedback.input_modulation import InputModulation
from mem_dfa.graph.ordering import after, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.schedules.schedule import Schedule, Targets

Values = list[tuple[keras.Variable, tf.Tensor]]


class Modulated(Schedule):
    """Two forward passes, the second on x and on x + e·F, with an update after each block."""

    _signal: InputModulation

    def __init__(
        self,
        *given: Any,
        opened: Sequence[LinearBlock],
        error_again: Callable[[tf.Tensor, tf.Tensor, Targets], tf.Tensor],
    ) -> None:
        """Prepare a step.

        Args:
            *given: as of any `Schedule`.
            opened: the parts of each block but the last.
            error_again: gives dL/dz for x' and the logits z', of which nothing is logged.
        """
        super().__init__(*given)
        self._opened, self._error_again = opened, error_again
        self._rehearsal = Rehearsal()

    def run(self, inputs: tf.Tensor, targets: Targets) -> None:
        """Forward for the error, then both batches block by block, each block updated."""
        last = self._blocks[-1]
        activation = inputs
        for block in self._blocks:
            activation = self._rehearsal.run(block, activation, "forward")
        error = targets.error_of(activation)
        del activation
        with scope("replay", "input"):
            wide = tf.float64 if error.dtype == tf.float64 else tf.float32
            batch = tf.cast(tf.shape(error)[0], wide)
            # The optimizer's loss scale is in e.
            scale = tf.cast(self._scale_loss(tf.ones([], wide)), wide)
            per_example = tf.cast(error, wide) * (batch / scale)
        # x' = x + e·F
        with_error = self._signal.modulated(inputs, per_example)
        pair, done = [inputs, with_error], token([with_error])
        del error, per_example
        for parts in self._opened:
            pair, done = self._update_hidden(parts, pair, scale / batch, done)
        plain, modulated = pair
        del plain, pair
        recording = Recording(last, modulated, "replay", done)
        # δ_n = e'/B at z'
        signal = self._error_again(with_error, recording.outputs, targets)
        self._update.apply(
            last.name, recording.gradients(signal, self._scale_loss), self._trained(last)
        )

    def _update_hidden(
        self, parts: LinearBlock, pair: list[tf.Tensor], factor: tf.Tensor, done: tf.Tensor | None
    ) -> tuple[list[tf.Tensor], tf.Tensor | None]:
        """W_i updated.

        Args:
            parts: of the block.
            pair: a_{i-1} and a'_{i-1}, taken out of the list, so that nothing else holds them.
            factor: 1/B times the loss scale.
            done: a token of the update before.

        Returns:
            a_i and a'_i, and a token of this update.
        """
        name = parts.whole.name
        seeds = _held(parts.whole.seed_variables, done)
        # a_i = f_i(a_{i-1}; W_i)
        plain = parts.linear.run(after(pair.pop(0), done), "replay")
        plain = parts.elementwise.run_with(plain, "replay", seeds)
        # a'_i = f_i(a'_{i-1}; W_i), which draws what a_i drew.
        recording = Recording(parts.linear, pair.pop(), "replay", token([plain]))
        modulated = parts.elementwise.run_with(recording.outputs, "replay", seeds)
        with scope("backward", name):
            # δ_i = (a_i − a'_i)/B
            signal = (plain - modulated) * tf.cast(factor, plain.dtype)
        ready = token([signal])
        outputs = [
            parts.rest.run_with(after(each, ready), "replay", seeds) if parts.rest.atoms else each
            for each in (plain, modulated)
        ]
        del plain, modulated
        gradients = recording.gradients(signal, self._scale_loss)
        # W_i ← W_i − η·a'_{i-1}ᵀ δ_i
        updated = self._update.apply(name, gradients, self._trained(parts.whole))
        return outputs, token([*outputs, *([] if updated is None else [updated])])


def _held(variables: Sequence[keras.Variable], earlier: tf.Tensor | None) -> Values:
    """The states of seeds, not before `earlier`, from which two runs draw the same."""
    return [(v, tf.identity(after(v.value, earlier))) for v in variables]
