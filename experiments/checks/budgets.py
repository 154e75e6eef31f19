"""Quantities of checkpointing within a budget, which is a part of what was measured before.

Claims about them are of two cells: bp, and checkpointing without a budget.
"""

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks.cells import with_options
from mem_dfa.experiments.checks.finding import Claim, Known, Quantity
from mem_dfa.experiments.checks.quantities import Measuring, times_over_first

from mem_dfa.units import MEBIBYTE

SHARES = (0.4, 0.6, 0.8)
"""Of bp's step bytes."""


def size(share: float) -> Quantity:
    """The budget itself."""
    return Quantity("MiB", lambda known, claim: share * _bp_bytes(known, claim) / MEBIBYTE)


def step_bytes(share: float) -> Quantity:
    """What the plan for a budget takes."""

    def taken(known: Known, claim: Claim) -> float:
        cells = [_within(claim.cells[1], share * _bp_bytes(known, claim))]
        return known.numbers(cells, "step_bytes")[0] / MEBIBYTE

    return Quantity("MiB", taken)


def step_time(number: int) -> Quantity:
    """The step time of a plan over that of the one before, all taking turns.

    Args:
        number: 1 for the budget that the plan without one just fits, then those of `SHARES`; 0
            would be that plan itself.
    """

    def ratio(kit: Measuring, claim: Claim) -> float:
        root = claim.cells[1]
        peak = kit.numbers([root], "predicted_step_bytes", claim.repeats)[0]
        budgets = [_least(peak), *(share * _bp_bytes(kit, claim) for share in SHARES)]
        times = times_over_first(kit, [root, *(_within(root, size) for size in budgets)])
        return times[number] / times[number - 1]

    return Quantity("ratio", ratio)


def _bp_bytes(known: Known, claim: Claim) -> int:
    return known.numbers(claim.cells[:1], "step_bytes")[0]


def _within(cell: Cell, size: float) -> Cell:
    return with_options(cell, {"budget": f"{int(size)} B"})


def _least(peak: int) -> int:
    """The budget that a plan with this peak just fits, with the margin for the allocator."""
    from mem_dfa.memory.checkpoint_plan import ALLOCATOR_MARGIN, PEAK_TOLERANCE

    return int(peak * (1 + ALLOCATOR_MARGIN) * (1 + PEAK_TOLERANCE)) + 1
