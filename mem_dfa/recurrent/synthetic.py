"""Truncated BPTT with synthetic gradients at the borders (Jaderberg et al., arXiv 1608.05343).

    for each chunk of T time steps, first to last, with S_{t+T} all states after it:
        g = α·δ̂(S_{t+T}), a constant;  δ̂(S) = s(S; θ) / √(B·T)
        (δ_t, ∇W) = gradient of L + ⟨g, S_{t+T}⟩ by (S_t, W),  W ← W − η·∇W
        θ ← θ − η·∂/∂θ ‖δ̂(S_t) − δ_t‖²

δ_t is what δ̂ should have been at the border before: it holds g's part, so that errors of far chunks
come near over many steps. The last layer of s starts at 0, and α < 1 keeps it from following
itself. δ is that of a mean over B sequences and T steps, and as small as these are many. The root
is between two evils: of steps as large as Adam's, s itself is mostly noise, and s / (B·T) follows
the net too late.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from mem_dfa.errors import UnsupportedError
from mem_dfa.graph.profile_scope import scope
from mem_dfa.recurrent.base import Sequences
from mem_dfa.recurrent.truncated import TruncatedBPTT

Tensor: TypeAlias = tf.Tensor

MOST_LAYERS = 3
MOST_TARGET = 1.0
"""‖δ_t‖ of a whole batch, beyond which a target is scaled down."""


@keras.saving.register_keras_serializable("mem_dfa")
class SyntheticBPTT(TruncatedBPTT):
    """Truncated backpropagation through time with a predicted error at the end of each chunk."""

    def __init__(
        self,
        network: keras.Model,
        chunk: int,
        stream_rows: int | None = None,
        share: float = 0.1,
        predictor_layers: int = 0,
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: as of `TruncatedBPTT`.
            chunk: as of `TruncatedBPTT`.
            stream_rows: as of `TruncatedBPTT`.
            share: α, of the predicted error that is used, from 0 to 1.
            predictor_layers: hidden layers of the predictor s, 0 to 3, as wide as the states.
            **details: `seed`, which the predictor is drawn from, and `name`.

        Raises:
            UnsupportedError: as of `TruncatedBPTT`; a number that makes no sense.
        """
        super().__init__(network, chunk, stream_rows, **details)
        if not 0 <= share <= 1 or predictor_layers not in range(MOST_LAYERS + 1):
            raise UnsupportedError(
                f"SyntheticBPTT received share={share!r}, predictor_layers={predictor_layers!r}: "
                f"give a number from 0 to 1, and a whole number from 0 to {MOST_LAYERS}."
            )
        self.share, self.predictor_layers = share, predictor_layers
        width = sum(state.shape[-1] for state in self.unrolled.zero_states(1))
        hidden = [
            keras.layers.Dense(
                width, "relu", kernel_initializer=keras.initializers.HeUniform(self.seed + number)
            )
            for number in range(predictor_layers)
        ]
        last = keras.layers.Dense(width, kernel_initializer="zeros")
        self.predictor = keras.Sequential([keras.Input((width,)), *hidden, last], name="predictor")

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        own = {"share": self.share, "predictor_layers": self.predictor_layers}
        return {**super().get_config(), **own}

    def _refuse_at_compile(self) -> None:
        super()._refuse_at_compile()
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            raise UnsupportedError(
                "SyntheticBPTT received a LossScaleOptimizer, by whose changing scale predicted "
                "errors would be off: use bfloat16 or float32 and an optimizer without it."
            )
        if isinstance(self.optimizer, keras.optimizers.SGD):
            warnings.warn(
                "SyntheticBPTT received SGD, by which predictors hardly learn: use Adam.",
                stacklevel=3,
            )

    def _predicted(self, part: Sequences, states: Sequence[Tensor]) -> Tensor:
        """δ̂(S) = s(S; θ) / √(B·T), those of all states beside each other."""
        predicted = self.predictor(tf.stop_gradient(tf.concat(states, -1)))
        count = tf.cast(tf.shape(part.x)[0] * part.steps, predicted.dtype)
        return predicted / tf.sqrt(count)

    def _border_errors(
        self, part: Sequences, following: Sequence[Tensor], goes_on: Any
    ) -> list[Tensor]:
        """G = α·δ̂(S_{t+T}), for each state; 0 where the sequence ends."""
        with scope("backward", "predictor"):
            predicted = tf.stop_gradient(self._predicted(part, following))
            used = tf.cast(goes_on, predicted.dtype) * self.share
            return tf.split(predicted * used, [state.shape[-1] for state in following], -1)

    def _learn(
        self, part: Sequences, states: Sequence[Tensor], errors: Sequence[Tensor | None]
    ) -> tuple[list[keras.Variable], list[Tensor]]:
        """The predictor's gradients, of its squared distance from δ_t."""
        learned = self.predictor.trainable_variables
        with scope("backward", "predictor"), tf.GradientTape() as tape:
            known = zip(states, errors, strict=True)
            target = tf.concat([tf.zeros_like(s) if e is None else e for s, e in known], -1)
            # What an exploding gradient once taught comes back in every later target.
            target = tf.clip_by_norm(target, MOST_TARGET)
            # ‖δ̂(S_t) − δ_t‖², the mean of the batch
            missed = self._predicted(part, states) - target
            distance = tf.reduce_mean(tf.reduce_sum(missed**2, -1))
        return learned, tape.gradient(distance, [variable.value for variable in learned])
