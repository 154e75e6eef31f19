"""Which blocks are kept and which are run again: plans for checkpointing, from shapes.

A plan cuts the chain into segments that are kept or recomputed; each block is recomputed at most
once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from mem_dfa.memory.budget import PREDICTION_MARGIN, too_little
from mem_dfa.memory.segment_search import cheapest_segments
from mem_dfa.memory.segments import (
    BlockCost,
    Plan,
    Segment,
    SegmentSize,
    plan_of,
    segment_sizes,
)

# A last block's small gradient is no reason to run a whole block again.
PEAK_TOLERANCE = 0.015
_INSTEAD = "plan='rotor', which may run blocks more often, or smaller batches"


def least_peak(costs: Sequence[BlockCost]) -> Plan:
    """The plan with the least peak; within a hundredth of it, the one that recomputes least.

    With n equal blocks its peak grows as √(2n).
    """
    low = 0
    high = sum(cost.kept for cost in costs) + max(c.backward_peak + c.restored for c in costs)
    sizes = [segment_sizes(costs[position:]) for position in range(len(costs))]
    # Bytes are whole numbers, but a plan's peak only takes a few values: stop at one of them.
    while low < high:
        middle = (low + high) // 2
        peak = _peak_within(costs, sizes, middle)
        if peak is None:
            low = middle + 1
        else:
            high = peak
    found = cheapest(costs, int(high * (1 + PEAK_TOLERANCE)))
    assert found  # of the least peak there is a plan
    return found


def within_budget(costs: Sequence[BlockCost], limit_bytes: int) -> Plan:
    """The fastest plan whose predicted peak, with a margin, fits.

    Raises:
        UnsupportedError: no plan fits; says the least budget for which one does.
    """
    plan = cheapest(costs, int(limit_bytes / (1 + PREDICTION_MARGIN)))
    if plan is None:
        what, instead = "plan that recomputes each block at most once", _INSTEAD
        raise too_little(limit_bytes, what, least_peak(costs).peak_bytes, instead)
    return plan


def every_block(costs: Sequence[BlockCost]) -> Plan:
    """The plan with a checkpoint before each block."""
    return at_boundaries(costs, range(len(costs)))


def evenly_within(costs: Sequence[BlockCost], limit_bytes: int) -> Plan:
    """The plan of checkpoints every so many blocks that recomputes least and fits, with a margin.

    Raises:
        UnsupportedError: none fits; says the least budget for which one does.
    """
    plans = [at_boundaries(costs, range(0, len(costs), n)) for n in range(1, len(costs) + 1)]
    limit = int(limit_bytes / (1 + PREDICTION_MARGIN))
    fitting = [plan for plan in plans if plan.peak_bytes <= limit]
    if not fitting:
        least = min(plan.peak_bytes for plan in plans)
        what = "plan of checkpoints every so many blocks"
        raise too_little(limit_bytes, what, least, _INSTEAD)
    return min(fitting, key=lambda plan: (plan.recomputed_operations, plan.peak_bytes))


def at_boundaries(costs: Sequence[BlockCost], boundaries: Iterable[int]) -> Plan:
    """The plan with checkpoints before the given blocks; the last segment is kept.

    Args:
        costs: of all blocks.
        boundaries: positions, counted from 0, of the blocks whose input is a checkpoint.
    """
    cuts = sorted({0, *boundaries, len(costs)})
    pairs = itertools.pairwise(cuts)
    return plan_of((Segment(start, stop, stop < len(costs)) for start, stop in pairs), costs)


def cheapest(
    costs: Sequence[BlockCost], limit_bytes: int, most_operations: int | None = None
) -> Plan | None:
    """The plan that recomputes least, in at most `limit_bytes` and, if given, operations."""
    segments = cheapest_segments(costs, limit_bytes, most_operations)
    return None if segments is None else plan_of(segments, costs)


def _peak_within(
    costs: Sequence[BlockCost], sizes: Sequence[Sequence[SegmentSize]], limit_bytes: int
) -> int | None:
    """The peak of some plan that takes at most `limit_bytes`, however much it recomputes."""
    # Of two ways to one position the one that holds less leaves more to what follows.
    least = {0: (0, 0)}  # held and peak, by position
    for position, own in enumerate(sizes):
        if position not in least:
            continue
        held, peak = least[position]
        for stop, size in enumerate(own, start=position + 1):
            if held + size.replayed_peak > limit_bytes:
                break  # a longer one takes more
            # The last block's own output or, where that is less, what is kept of one block.
            added = costs[stop - 1].output
            if stop == position + 1:
                added = min(added, size.kept + size.restored)
            state = (held + added, max(peak, held + size.replayed_peak))
            if stop not in least or state < least[stop]:
                least[stop] = state
    return least[len(costs)][1] if len(costs) in least else None
