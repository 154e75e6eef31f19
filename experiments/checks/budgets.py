"""Quantities of checkpointing within a budget, which is a part of what was measured before.

Claims about them are of two cells: bp, and checkpointing without a budget.
"""

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks.cells import with_options
from mem_dfa.experiments.checks.finding import Claim, Known, Quantity
from mem_dfa.experiments.checks.quantities import quantity, times_over_first

from mem_dfa.units import MEBIBYTE

SHARES = (0.4, 0.6, 0.8)
"""Of bp's step bytes."""


def size(share: float) -> Quantity:
    """The budget itself."""
    return Quantity("MiB", lambda known, claim: _bytes(known, claim, share) / MEBIBYTE)


def step_bytes(share: float) -> Quantity:
    """What the plan for a budget takes."""

    @quantity("MiB")
    def taken(known: Known, claim: Claim) -> float:
        cells = [_within(claim.cells[1], _bytes(known, claim, share))]
        return known.numbers(cells, "step_bytes")[0] / MEBIBYTE

    return taken


def step_time(number: int) -> Quantity:
    """The step time of a plan over that of the one before, all taking turns.

    Args:
        number: 1 for the budget that the plan without one just fits, then those of `SHARES`; 0
            would be that plan itself.
    """

    @quantity("ratio")
    def ratio(known: Known, claim: Claim) -> float:
        root = claim.cells[1]
        peak = known.numbers([root], "predicted_step_bytes", claim.repeats)[0]
        budgets = [_least(peak), *(_bytes(known, claim, share) for share in SHARES)]
        times = times_over_first(known, [root, *(_within(root, budget) for budget in budgets)])
        return times[number] / times[number - 1]

    return ratio


def _bytes(known: Known, claim: Claim, share: float) -> float:
    return share * known.numbers(claim.cells[:1], "step_bytes")[0]


def _within(cell: Cell, budget: float) -> Cell:
    return with_options(cell, {"budget": f"{int(budget)} B"})


def _least(peak: int) -> int:
    """The budget that a plan with this peak just fits, with the margin for the allocator."""
    from mem_dfa.memory.checkpoint_plan import ALLOCATOR_MARGIN, PEAK_TOLERANCE

    return int(peak * (1 + ALLOCATOR_MARGIN) * (1 + PEAK_TOLERANCE)) + 1
