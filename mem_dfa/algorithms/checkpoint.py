"""Checkpointing (Griewank and Walther, 2000; Chen et al., arXiv 1604.06174): BP's own gradient.

    forward:   keep a_i at the segments' borders only
    backward:  for each segment, last to first:  run it again from its checkpoint,
               δ_{i-1} = J_iᵀ δ_i,  W_i ← W_i − η·G_iᵀ δ_i,  free it

The last run draws the dropout masks of the first and moves BatchNormalization's statistics for all,
so the gradient is exact. Each block is recomputed at most once where `checkpoint_plan` places the
borders, about log₂ n times where `revolve` does, of n blocks, for memory that grows as log n, and
as rarely as a budget allows where `rotor` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras

from mem_dfa.algorithms.blockwise import Blockwise
from mem_dfa.chain.chain import NOMINAL_BATCH
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.distributions import Initializer
from mem_dfa.feedback.ways_back import kernel_feedback
from mem_dfa.memory import checkpoint_plan, replayed_plan
from mem_dfa.memory.budget import (
    budget_bytes,
    check_batch_size,
    known_batch_size,
    refuse_unknown,
)
from mem_dfa.memory.keepers import Keeper
from mem_dfa.memory.replayed_plan import ReplayedPlan
from mem_dfa.memory.segments import BlockCost, Plan, block_costs
from mem_dfa.optimizer.step import Update
from mem_dfa.schedules.backward_sweep import BackwardSweep

AnyPlan: TypeAlias = Plan | ReplayedPlan
PLANS: Mapping[
    str,
    tuple[Callable[[Sequence[BlockCost]], AnyPlan], Callable[[Sequence[BlockCost], int], AnyPlan]],
] = {
    "sqrt": (checkpoint_plan.least_peak, checkpoint_plan.within_budget),
    "every": (checkpoint_plan.every_block, checkpoint_plan.evenly_within),
    "revolve": (replayed_plan.revolved, replayed_plan.revolved_within),
    "rotor": (replayed_plan.no_budget, replayed_plan.fastest_within),
}
"""What plans without and within a budget of bytes, by the names in `registry.CHECKPOINT_PLANS`."""


@keras.saving.register_keras_serializable("mem_dfa")
class Checkpoint(Blockwise):
    """Backpropagation that keeps checkpoints and recomputes what lies between them.

    Attributes:
        keeper: of the checkpoints; None for as they are.
    """

    keeper: Keeper | None = None

    def __init__(
        self,
        network: keras.Model,
        every: int | None = None,
        blocks: Sequence[str] | None = None,
        budget: str | int | None = None,
        batch_size: int | None = None,
        plan: str = "sqrt",
        **details: Any,
    ) -> None:
        """Wrap `network`; without further words the borders make the peak least (√n).

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            every: a checkpoint every so many blocks.
            blocks: names of the blocks whose input is a checkpoint, such as "block_005".
            budget: bytes, such as "64 MiB", that the operations of a step stay within with as
                little recomputation as possible: what they ask for at one time beside what is there
                before the step, `step_requested_bytes` of a timeline. The chunks that the allocator
                hands out for that, `step_bytes`, may be larger, but never twice; batches fetched
                ahead, and what the first step makes for good, come on top of both.
            batch_size: what the budget is for; needed where batches are of no fixed size.
            plan: "sqrt" to run each block again once at most; "every" the same, with checkpoints
                before every block, or every so many of them within a budget; "revolve" to keep few
                of many alike blocks' outputs, and run the others again as often as that makes
                necessary; "rotor" for the plan that runs least within a budget.
            **details: `seed` and `name`, as in `Algorithm`.

        Raises:
            UnsupportedError: the network cannot be cut, or the arguments make no sense.
        """
        super().__init__(network, **details)
        self.every, self.blocks, self.budget, self.batch_size = every, blocks, budget, batch_size
        self.plan_name = plan
        check_batch_size("Checkpoint", batch_size)
        if not isinstance(plan, str) or plan not in PLANS:
            raise UnsupportedError(
                f"Checkpoint received plan={plan!r}: use one of {', '.join(PLANS)}."
            )
        given = [name for name in ("every", "blocks", "budget") if getattr(self, name) is not None]
        if len(given) > 1:
            raise UnsupportedError(
                f"Checkpoint received {' and '.join(given)}: they say the same thing in different "
                "words; give one of every, blocks, budget, or none."
            )
        if plan != "sqrt" and given not in ([], ["budget"]):
            raise UnsupportedError(
                f"Checkpoint received plan={plan!r} and {given[0]}: a plan places checkpoints "
                "itself; give one of both, or a budget."
            )
        if budget is not None and (batch_size is None or None in self.chain.input.shape[1:]):
            budget_bytes(budget)  # the batch is not known yet, nor is the optimizer
        else:
            self.plan(batch_size or NOMINAL_BATCH)

    @property
    def kept_bytes(self) -> Callable[[int], int] | None:
        """What is held of a checkpoint of so many values; None for all of them."""
        return None

    def plan(self, batch_size: int) -> AnyPlan:
        """What runs again, and when, for a batch of that size.

        Raises:
            UnsupportedError: no plan fits the budget, or the arguments name no such blocks.
        """
        costs = block_costs(self.chain.blocks, batch_size, self.kept_bytes)
        if self.budget is not None:
            refuse_unknown(
                f"Checkpoint received budget={self.budget!r}",
                lambda: self.chain.require_known_bytes(batch_size),
                "every=... or blocks=[...]",
            )
            return PLANS[self.plan_name][1](costs, budget_bytes(self.budget))
        if self.every is not None:
            if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
                raise UnsupportedError(
                    f"Checkpoint received every={self.every!r}: give a whole number of blocks, "
                    "at least 1."
                )
            return checkpoint_plan.at_boundaries(costs, range(0, len(costs), self.every))
        if self.blocks is not None:
            return checkpoint_plan.at_boundaries(costs, self._positions(self.blocks))
        return PLANS[self.plan_name][0](costs)

    def _refuse_at_compile(self) -> None:
        super()._refuse_at_compile()
        if self.budget is not None and self.batch_size and None not in self.chain.input.shape[1:]:
            self.plan(self.batch_size)  # with what the optimizer and the loss take

    def _positions(self, names: Sequence[str]) -> list[int]:
        known = [block.name for block in self.chain.blocks]
        is_list = isinstance(names, (list, tuple))
        if not is_list or any(name not in known for name in names):
            raise UnsupportedError(
                f"Checkpoint received blocks={names!r}: give a list of some of "
                f"{known[0]} to {known[-1]}; print(trainer.chain.summary()) shows them."
            )
        return [known.index(name) for name in names]

    def _predict_step_bytes(self, batch_size: int) -> int:
        """The plan's peak."""
        self.chain.require_known_bytes(batch_size)
        return self.plan(batch_size).peak_bytes

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        names = ("every", "blocks", "budget", "batch_size")
        given = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **given, "plan": self.plan_name}

    def schedule(self, update: Update, batch_size: int | None) -> BackwardSweep:
        """Forward with checkpoints, then segment by segment backward."""
        actions = self.plan(self._known_batch_size(batch_size)).actions
        given = (type(self).__name__, self.chain.blocks, self.signal, update)
        return BackwardSweep(*given, actions=actions, keeper=self.keeper)

    def _known_batch_size(self, batch_size: int | None) -> int:
        if self.budget is None:
            return self.batch_size or batch_size or NOMINAL_BATCH
        return known_batch_size("Checkpoint", self.budget, self.batch_size, batch_size)


@keras.saving.register_keras_serializable("mem_dfa")
class CheckpointFA(Checkpoint):
    """Feedback alignment whose activations are recomputed from checkpoints."""

    def __init__(
        self,
        network: keras.Model,
        feedback_initializer: str | Initializer | None = None,
        way_back: str = "random",
        feedback_decay: float = 0.0,
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            feedback_initializer: as of `FA`.
            way_back: as of `FA`.
            feedback_decay: as of `FA`.
            **details: as of `Checkpoint`; `seed` is what the random kernels are drawn from.

        Raises:
            UnsupportedError: the algorithm cannot train the network; unknown initializer or way
                back; a decay that makes no sense.
        """
        super().__init__(network, **details)
        self.way_back = way_back
        self.signal = kernel_feedback(self, way_back, feedback_initializer, feedback_decay)

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        return {**super().get_config(), "way_back": self.way_back}
