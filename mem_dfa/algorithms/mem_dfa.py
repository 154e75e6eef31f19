"""MEM-DFA: direct feedback alignment in memory that does not grow with depth (arXiv 2012.11745).

    first pass:   z = f_n(… f_1(x)),  e = dL/dz; nothing else is kept
    second pass:  for i = 1 … n:  a_i = f_i(a_{i-1}; W_i) again,  δ_i = e·B_i,
                  W_i ← W_i − η·G_iᵀ δ_i,  free a_{i-1}

a_i is computed before W_i changes, so the second pass sees the weights of the first and every
update equals DFA's. Alive at any time: x, e and two adjacent blocks. Within a `budget` of bytes as
many blocks as fit are kept from the first pass on, as DFA keeps all of them, and run once.

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
from mem_dfa.memory import checkpoint_plan, segments
from mem_dfa.memory.batch_slices import chain_peak_bytes, slice_counts
from mem_dfa.memory.budget import (
    budget_bytes,
    check_batch_size,
    known_batch_size,
    refuse_unknown,
)
from mem_dfa.memory.budget_plan import Plan, Planner
from mem_dfa.optimizer.step import Update, tiled_layers
from mem_dfa.schedules.partly_kept import PartlyKept
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
        budget: str | int | None = None,
        batch_size: int | None = None,
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
            budget: bytes, such as "64 MiB", that the operations of a step stay within with as
                little recomputation as possible, as of `Checkpoint`; None to keep nothing. With
                `slices` only blocks that do not fit whole are worked on in so many.
            batch_size: what the budget is for; needed where batches are of no fixed size.
            **details: `seed`, which the matrices are drawn from, `name`, and `anchor`, as of
                `Anchored`.

        Raises:
            UnsupportedError: the algorithm cannot train the network; `slices` is no number of them,
                or `budget` no size.
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
        self.slices, self.budget, self.batch_size = slices, budget, batch_size
        check_batch_size("MemDFA", batch_size)
        if budget is not None:
            budget_bytes(budget)  # what fits depends on the optimizer: see `compile`

    def plan(self, batch_size: int) -> Plan:
        """What is kept within the budget of batches of that size, once the trainer is compiled.

        Raises:
            UnsupportedError: no plan fits, which says the least budget for which one does; or
                there is no budget.
        """
        if self.budget is None:
            raise UnsupportedError(
                "MemDFA received budget=None, which keeps no block and has no plan: give "
                'budget=..., such as "64 MiB".'
            )
        refuse_unknown(
            f"MemDFA received budget={self.budget!r}",
            lambda: self.chain.require_known_bytes(batch_size),
            "slices=...",
        )
        planner = Planner(self.chain.blocks, batch_size, self.slices, self.tiled_layers())
        # Where matrices are learned, the gradient of one is made beside the rest.
        return planner.within(budget_bytes(self.budget), self.signal.gradient_bytes)

    def exact_plan(self, batch_size: int) -> segments.Plan:
        """Of the exact steps: within the same budget."""
        if self.budget is None:
            return super().exact_plan(batch_size)
        costs = segments.block_costs(self.chain.pieces, batch_size)
        return checkpoint_plan.within_budget(costs, budget_bytes(self.budget))

    def _refuse_at_compile(self) -> None:
        super()._refuse_at_compile()
        if self.budget is not None and self.batch_size and None not in self.chain.input.shape[1:]:
            self.plan(self.batch_size)

    def schedule(self, update: Update, batch_size: int | None) -> SecondForward:
        """Forward for the error alone, then replay and update block by block."""
        given = (type(self).__name__, self.chain.blocks, self.signal, update)
        if self.budget is None:
            return SecondForward(*given, slices=self.slices)
        size = known_batch_size("MemDFA", self.budget, self.batch_size, batch_size)
        return PartlyKept(*given, plan=self.plan(size))

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        names = ("slices", "budget", "batch_size")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _predict_step_bytes(self, batch_size: int) -> int:
        """The block at work, whole or in slices, and the output of the one before it.

        Within a budget it is the plan's peak. Where matrices are learned, the gradient of one is
        made beside that.
        """
        blocks = self.chain.blocks
        self.chain.require_known_bytes(batch_size)
        optimizer = getattr(self, "optimizer", None)
        tiled = [layer for block in blocks for layer in tiled_layers(block, optimizer)]
        learned = self.signal.gradient_bytes
        if self.budget is not None:
            planner = Planner(blocks, batch_size, self.slices, tiled)
            peak = planner.within(budget_bytes(self.budget), learned).peak_bytes
        else:
            counts = slice_counts(blocks, batch_size, self.slices, tiled)
            peak = chain_peak_bytes(blocks, counts, batch_size, tiled) + learned
        return max(peak, self.exact_step_bytes(batch_size))

    def tiled_layers(self) -> list[keras.layers.Layer]:
        """The dense layers whose kernels are updated in row tiles, once the trainer is compiled."""
        update = Update(self.optimizer, compiled=bool(self.jit_compile))
        return [layer for block in self.chain.blocks for layer in update.tiled_layers(block)]
