"""Direct feedback alignment (Nøkland, arXiv 1609.01596; SRBP in Baldi et al., 2018).

    δ_n = e,  δ_i = e·B_i,  W_i ← W_i − η·G_iᵀ δ_i

The error signal enters at a block's output, after its activation and pooling. Every activation is
kept from the forward pass until its block is updated: O(n), as in BP.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras

from mem_dfa.algorithms.anchored import Anchored
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.distributions import Initializer
from mem_dfa.feedback.matrices import KindArguments
from mem_dfa.feedback.output_feedback import OutputFeedback
from mem_dfa.optimizer.step import Update
from mem_dfa.registry import FEEDBACK_KINDS
from mem_dfa.schedules.backward_sweep import BackwardSweep


@keras.saving.register_keras_serializable("mem_dfa")
class DFA(Anchored):
    """A backward sweep that keeps everything, with output feedback."""

    signal: OutputFeedback
    kinds: ClassVar[tuple[str, ...]] = tuple(FEEDBACK_KINDS)
    """What `feedback` may be, the default first."""

    def __init__(
        self,
        network: keras.Model,
        feedback_initializer: str | Initializer = "uniform",
        feedback: str | None = None,
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
            feedback: what is held of the matrices, one of the class's `kinds`; None for the first.
            projected: names of the blocks that get a matrix; None for those that have something to
                train now. A saved trainer keeps its own, whatever was frozen since.
            nonzeros: of each column of a sparse matrix, s; None for 1.
            rank: of a matrix of low rank, r; None for ⌈√C⌉.
            feedback_decay: what share of learned matrices, and of their blocks' kernels, goes each
                step.
            **details: `seed`, which the matrices are drawn from, `name`, and `anchor`, as of
                `Anchored`.

        Raises:
            UnsupportedError: the algorithm cannot train the network; see `OutputFeedback`; the kind
                of feedback is another algorithm's.
        """
        kind = self.kinds[0] if feedback is None else feedback
        if kind in DFA.kinds and kind not in self.kinds:
            raise UnsupportedError(
                f"{type(self).__name__} received feedback={kind!r}, but it is DFA whose matrices "
                f"are {' or '.join(self.kinds)}: give one of these, or train with 'dfa'."
            )
        super().__init__(network, **details)
        arguments = KindArguments(nonzeros, rank, feedback_decay)
        self.signal = OutputFeedback(self, feedback_initializer, kind, projected, arguments)

    def schedule(self, update: Update, batch_size: int | None) -> BackwardSweep:
        """Forward through all blocks, then project, differentiate and update each."""
        return BackwardSweep(type(self).__name__, self.chain.blocks, self.signal, update)

    def _predict_step_bytes(self, batch_size: int) -> int:
        """Every activation, freed block by block from the last to the first."""
        self.chain.require_known_bytes(batch_size)
        sizes = [block.bytes(batch_size) for block in self.chain.blocks]
        peak = kept = sum(size.kept for size in sizes)
        for size in reversed(sizes):
            kept -= size.kept
            peak = max(peak, kept + size.update_peak)
        return max(peak + self.signal.gradient_bytes, self.exact_step_bytes(batch_size))
