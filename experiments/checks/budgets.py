"""Quantities of checkpointing within a budget, which is a part of what bp takes.

Claims about them are of two cells: bp, and checkpointing without a budget.
"""

from dataclasses import replace

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks.claim import Claim, Known
from mem_dfa.experiments.checks.quantities import over_first

from mem_dfa.units import MEBIBYTE

_SHARES = (0.4, 0.6, 0.8)


def size(known: Known, claim: Claim, share: float) -> float:
    """A share of bp's step bytes."""
    return share * _bp_bytes(known, claim) / MEBIBYTE


def step_bytes(known: Known, claim: Claim, share: float) -> float:
    """What checkpointing takes within it."""
    cell = _within(claim.cells[1], share * _bp_bytes(known, claim))
    return known.column("step_bytes", [cell])[0] / MEBIBYTE


def step_time(known: Known, claim: Claim, number: float) -> float:
    """The step time within a budget over that of the plan before, all taking turns.

    0 is the plan without a budget, 1 the budget that it just fits, what follows three shares.
    """
    root = claim.cells[1]
    peak = known.column("predicted_step_bytes", [root], claim.repeats)[0]
    sizes = [_least_budget(peak), *(share * _bp_bytes(known, claim) for share in _SHARES)]
    times = over_first(known, [root, *(_within(root, size) for size in sizes)])
    return times[int(number)] / times[int(number) - 1]


def _bp_bytes(known: Known, claim: Claim) -> int:
    return known.column("step_bytes", claim.cells[:1])[0]


def _within(cell: Cell, size: float) -> Cell:
    return replace(cell, options={"budget": f"{int(size)} B"})


def _least_budget(peak: int) -> int:
    """The budget that a plan with this peak just fits, with the margin for the allocator."""
    from mem_dfa.memory.checkpoint_plan import ALLOCATOR_MARGIN, PEAK_TOLERANCE

    return int(peak * (1 + ALLOCATOR_MARGIN) * (1 + PEAK_TOLERANCE)) + 1
