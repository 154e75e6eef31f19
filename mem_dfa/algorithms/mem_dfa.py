"""MEM-DFA: direct feedback alignment in memory that does not grow with depth (arXiv 2012.11745).

    first pass:   z = f_n(… f_1(x)),  e = dL/dz; nothing else is kept
    second pass:  for i = 1 … n:  a_i = f_i(a_{i-1}; W_i) again,  δ_i = e·B_i,
                  W_i ← W_i − η·G_iᵀ δ_i,  free a_{i-1}

a_i is computed before W_i changes, so the second pass sees the weights of the first and every
update equals DFA's. Alive at any time: x, e and two adjacent blocks.

What a layer draws or moves beside its own variables, such as Keras's global seed generator, is
what the first pass drew or moved, see `rehearsal`; what cannot be restored, as draws of
`tf.random`, is refused at the first step, see `refuse_unrepeatable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from mem_dfa.algorithms.anchored import Anchored
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.distributions import Initializer
from mem_dfa.feedback.matrices import KindArguments
from mem_dfa.feedback.output_feedback import OutputFeedback
from mem_dfa.memory.batch_slices import chain_peak_bytes, slice_counts
from mem_dfa.optimizer.step import Update, tiled_layers
from mem_dfa.schedules.second_forward import SecondForward


@keras.saving.register_keras_serializable("mem_dfa")
class MemDFA(Anchored):
    """A second forward pass that updates each block, with output feedback."""

    signal: OutputFeedback

    def __init__(
        self,
        network: keras.Model,
        feedback_initializer: str | Initializer = "uniform",
        slices: int | None = None,
        feedback: str = "stored",
        projected: Sequence[str] | None = None,
        nonzeros: int | None = None,
        rank: int | None = None,
        feedback_decay: float = 0.0,
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            feedback_initializer: a name in `distributions.INITIALIZERS`, or a Keras initializer.
            slices: of the batch, in which a block that sets the chain's peak is worked on; 1 for
                whole batches only, None for as many as are worth it, see
                `batch_slices.slice_counts`.
            feedback: what is held of the matrices, a name in `matrices.KINDS`.
            projected: names of the blocks that get a matrix, as of `DFA`.
            nonzeros: of each column of a sparse matrix, s; None for 1.
            rank: of a matrix of low rank, r; None for ⌈√C⌉.
            feedback_decay: what share of learned matrices, and of their blocks' kernels, goes each
                step.
            **details: `seed`, which the matrices are drawn from, `name`, and `anchor`, as of
                `Anchored`.

        Raises:
            UnsupportedError: the algorithm cannot train the network; `slices` is no number of them.
        """
        if slices is not None and (
            isinstance(slices, bool) or not isinstance(slices, int) or slices < 1
        ):
            raise UnsupportedError(
                f"{type(self).__name__} received slices={slices!r}: give 1, 2, … or None."
            )
        super().__init__(network, **details)
        arguments = KindArguments(nonzeros, rank, feedback_decay)
        self.signal = OutputFeedback(self, feedback_initializer, feedback, projected, arguments)
        self.slices = slices

    def schedule(self, update: Update, batch_size: int | None) -> SecondForward:
        """Forward for the error alone, then replay and update block by block."""
        given = (type(self).__name__, self.chain.blocks, self.signal, update)
        return SecondForward(*given, slices=self.slices)

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        return {**super().get_config(), "slices": self.slices}

    def _predict_step_bytes(self, batch_size: int) -> int:
        """The block at work, whole or in slices, and the output of the one before it.

        Where matrices are learned, the gradient of one is made beside that.
        """
        blocks = self.chain.blocks
        self.chain.require_known_bytes(batch_size)
        optimizer = getattr(self, "optimizer", None)
        tiled = [layer for block in blocks for layer in tiled_layers(block, optimizer)]
        counts = slice_counts(blocks, batch_size, self.slices, tiled)
        peak = chain_peak_bytes(blocks, counts, batch_size, tiled)
        return max(peak + self.signal.gradient_bytes, self.exact_step_bytes(batch_size))

    def tiled_layers(self) -> list[keras.layers.Layer]:
        """The dense layers whose kernels are updated in row tiles, once the trainer is compiled."""
        update = Update(self.optimizer, compiled=bool(self.jit_compile))
        return [layer for block in self.chain.blocks for layer in update.tiled_layers(block)]
