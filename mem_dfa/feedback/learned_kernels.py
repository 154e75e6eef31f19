"""Learned kernels on the way back (Baldi et al., 2018; Kolen and Pollack, 1994).

    δ_{i-1} = J_i(B_i)ᵀ δ_i,  B_i ← B_i − η·∇W_i

B_i has the shape of W_i, so that its own rule's product of δ_i and a_{i-1} is the gradient of W_i,
which is there: learning it costs no operation but the optimizer's. With a decay λ it is Kolen and
Pollack's rule: after each step

    W_i ← (1 − λ)·W_i,  B_i ← (1 − λ)·B_i

so that under plain SGD W_i − B_i falls by 1 − λ a step, whatever is learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.distributions import Initializer
from mem_dfa.feedback.kernels import KernelFeedback
from mem_dfa.graph.once import constant
from mem_dfa.graph.ordering import in_turn
from mem_dfa.graph.profile_scope import scope


class LearnedKernels(KernelFeedback):
    """Random kernels at first, which the trainer's optimizer changes as it does the layers' own.

    Gradients of regularisers count in both, so that the difference of W and B stays what it is.
    A kernel that is frozen has none, and neither has its B.
    """

    is_trained = True

    def __init__(
        self, trainer: Any, initializer: str | Initializer | None = None, decay: float = 0.0
    ) -> None:
        """Draw the kernels.

        Args:
            trainer: as for `KernelFeedback`.
            initializer: as for `KernelFeedback`.
            decay: λ, by which W and B both shrink in each step.

        Raises:
            UnsupportedError: as `KernelFeedback`; a decay that is not from 0 to below 1.
        """
        if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 <= decay < 1:
            raise UnsupportedError(
                f"{type(trainer).__name__} received feedback_decay={decay!r}: give a number from "
                "0, for none, to below 1, such as 0.001."
            )
        super().__init__(trainer, initializer)
        self._decay = float(decay)

    def get_config(self) -> dict[str, Any]:
        """The trainer's arguments that made it."""
        return {**super().get_config(), "feedback_decay": self._decay}

    def refuse_at_compile(self, loss: Any) -> None:
        """As `KernelFeedback`."""
        super().refuse_at_compile(loss)
        self._freeze()

    def _freeze(self) -> None:
        """Train those whose layer's kernel is trained; layers may be frozen at any time."""
        for own, feedback in self.pairs:
            feedback.trainable = own.trainable

    @property
    def _learned_pairs(self) -> list[tuple[keras.Variable, keras.Variable]]:
        return [(own, feedback) for own, feedback in self.pairs if own.trainable]

    def _learned_in(self, block: Block) -> list[tuple[keras.Variable, keras.Variable]]:
        inside = {id(variable) for variable in block.trainable_variables}
        return [pair for pair in self.pairs if id(pair[0]) in inside]

    def changing(self, pairs: Sequence[tuple[keras.Variable, Any]]) -> Sequence[keras.Variable]:
        """B, which is learned."""
        return [feedback for _, feedback in pairs]

    def learned(self, block: Block) -> Sequence[keras.Variable]:
        """B of the block's layers."""
        return [feedback for _, feedback in self._learned_in(block)]

    def learn(
        self, block: Block, outputs: tf.Tensor, error: tf.Tensor, gradients: Sequence[Any]
    ) -> Sequence[Any]:
        """The gradients of the layers' own kernels, see `Signal.learn`."""
        of = {id(v): g for v, g in zip(block.trainable_variables, gradients, strict=True)}
        # B_i ← B_i − η·∇W_i
        return [of[id(own)] for own, _ in self._learned_in(block)]

    @contextmanager
    def way_back(self, trainer: keras.Model) -> Iterator[None]:
        """As in `KernelFeedback`; in Keras's own step B is given the gradient of W."""
        self._freeze()
        optimizer, apply_gradients = trainer.optimizer, trainer.optimizer.apply_gradients

        def with_learned(grads_and_vars: Any) -> Any:
            of = {id(variable): gradient for gradient, variable in grads_and_vars}
            # B_i ← B_i − η·∇W_i
            of |= {id(feedback): of[id(own)] for own, feedback in self._learned_pairs}
            return apply_gradients([(of[id(v)], v) for v in trainer.trainable_variables])

        with super().way_back(trainer):
            optimizer.apply_gradients = with_learned
            try:
                yield
            finally:
                del optimizer.apply_gradients

    def end_step(self) -> None:
        """Let W and B decay, one kernel after another."""
        if not self._decay:
            return
        # W_i ← (1 − λ)·W_i,  B_i ← (1 − λ)·B_i
        with scope("update", "feedback_decay"), in_turn():
            for pair in self._learned_pairs:
                for variable in pair:
                    rate = constant(self._decay, tf.as_dtype(variable.dtype))
                    variable.assign_sub(variable.value * rate)
