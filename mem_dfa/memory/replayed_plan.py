"""Plans in which a block may run more than twice, and what any plan takes.

`revolve` (Griewank and Walther, 2000) keeps m states of a chain of t alike steps at one time and
runs the others again as often as that makes necessary: of ⌈log₂ t⌉ + 1 states memory grows as log t
while each block runs about log t times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mem_dfa.errors import UnsupportedError
from mem_dfa.memory import revolve, rotor
from mem_dfa.memory.actions import Action
from mem_dfa.memory.budget import PREDICTION_MARGIN, too_little
from mem_dfa.memory.checkpoint_plan import cheapest
from mem_dfa.memory.segments import BlockCost


@dataclass(frozen=True)
class ReplayedPlan:
    """What to do in a step, with what it should cost."""

    actions: tuple[Action, ...]
    peak_bytes: int
    recomputed_operations: int


def priced(actions: Sequence[Action], costs: Sequence[BlockCost]) -> ReplayedPlan:
    """A plan with its peak, beside the batch, and the operations of all runs but the first.

    Args:
        actions: in order, as `BackwardSweep` does them.
        costs: of all blocks.
    """
    states: set[int] = set()
    recorded: set[int] = set()
    peak, operations = 0, -sum(cost.operations for cost in costs)

    def held() -> int:
        # A recorded block holds its input, and its output with what else it keeps.
        total = sum(costs[block].kept for block in recorded)
        for place in states | recorded:
            if place and place - 1 not in recorded:
                restored = costs[place].restored if place in recorded else 0
                is_held = place in states or not restored
                total += restored + (costs[place - 1].output if is_held else 0)
        return total

    for action in actions:
        if action.kind == "forget":
            states.discard(action.start)
            continue
        if action.kind == "backward":
            block = costs[action.start]
            states.discard(action.stop)
            peak = max(peak, held() - block.kept + block.backward_peak)
            recorded.discard(action.start)
            continue
        states.add(action.stop)
        operations += sum(cost.operations for cost in costs[action.start : action.stop])
        if action.kind == "record":
            recorded.add(action.start)
    return ReplayedPlan(tuple(actions), peak, operations)


def revolved(costs: Sequence[BlockCost], slots: int | None = None) -> ReplayedPlan:
    """The plan that runs least of a chain of alike blocks with so many states kept at one time.

    Args:
        costs: of all blocks.
        slots: states, that of the batch among them; None for ⌈log₂ t⌉ + 1 of t blocks.
    """
    slots = slots or (len(costs) - 1).bit_length() + 1
    return priced(revolve.plan("hidden", len(costs), slots), costs)


def revolved_within(costs: Sequence[BlockCost], limit_bytes: int) -> ReplayedPlan:
    """The one with most states whose predicted peak, with a margin, fits.

    Raises:
        UnsupportedError: none fits; says the least budget for which one does.
    """
    limit = int(limit_bytes / (1 + PREDICTION_MARGIN))
    low, high = 1, len(costs)
    plan = revolved(costs, low)
    if plan.peak_bytes > limit:
        raise too_little(limit_bytes, "plan", plan.peak_bytes, "or smaller batches")
    while low < high:
        middle = (low + high + 1) // 2
        larger = revolved(costs, middle)
        if larger.peak_bytes <= limit:
            low, plan = middle, larger
        else:
            high = middle - 1
    return plan


def fastest_within(costs: Sequence[BlockCost], limit_bytes: int) -> ReplayedPlan:
    """What `rotor` finds, or a plan of the other kinds that its rounding of bytes leaves out.

    Raises:
        UnsupportedError: none fits; says the least budget for which one does.
    """
    limit = int(limit_bytes / (1 + PREDICTION_MARGIN))
    found = [revolved_within(costs, limit_bytes)]
    if actions := rotor.actions(costs, limit):
        found.append(priced(actions, costs))
    fitting = [plan for plan in found if plan.peak_bytes <= limit]
    # Nothing that runs more is looked for.
    least = min(plan.recomputed_operations for plan in fitting)
    if once := cheapest(costs, limit, least):
        fitting.append(priced(once.actions, costs))
    return min(fitting, key=lambda plan: (plan.recomputed_operations, plan.peak_bytes))


def no_budget(costs: Sequence[BlockCost]) -> ReplayedPlan:
    """Of `rotor`, which is of a budget.

    Raises:
        UnsupportedError: always.
    """
    raise UnsupportedError(
        "Checkpoint received plan='rotor' and no budget: give budget=..., such as '64 MiB', or "
        "take plan='revolve'."
    )
