"""Which blocks MEM-DFA keeps within a budget, and which it runs again: plans from shapes.

Blocks that are kept hold their activations from the first pass on and do not run a second time. The
others lie between them in *runs* of consecutive blocks, each of which starts again from the batch
or from the output of the kept block before it. A step has three phases:

    first pass:   block by block; held is what is kept of the blocks so far
    updates:      of the kept blocks, last to first, each freed; held is what is kept of those
                  before, and the outputs that later runs start from
    second pass:  of the runs, last to first; held are the outputs that earlier runs start from

Of the plans that fit, the best one recomputes fewest operations and, of those, has fewest of them
in slices of the batch in the first pass. It is found exactly, up to
`RESOLUTION`: a plan for the first blocks is dropped only for another one that is no worse for
whatever follows. In long chains, where too many plans are left, coarser bytes count as alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mem_dfa.memory.partial_plan import IN_A_RUN, BlockCost, Last, PartialPlan, followed

# Plans whose bytes differ by less than such a share of the limit count as alike.
RESOLUTION = 256
# Plans for the first blocks that are followed up: so many for all blocks together, and at least so
# many for each.
PLANS, LEAST_PLANS = 10_000, 64


@dataclass(frozen=True)
class Part:
    """Blocks `start` to `stop` - 1: kept ones, or a run.

    Attributes:
        start: position of the first block.
        stop: position after the last one.
        recomputed: whether they are a run.
        sliced: whether the run is in slices of the batch in the first pass.
        held: bytes of what earlier runs start from, beside which it is in the second pass.
    """

    start: int
    stop: int
    recomputed: bool
    sliced: bool = False
    held: int = 0


def cheapest(costs: Sequence[BlockCost], limit_bytes: int) -> tuple[tuple[Part, ...], int] | None:
    """The plan that recomputes least among those whose peak is at most `limit_bytes`.

    Returns:
        Its parts in the order of the forward pass, and its peak in bytes where runs take the least
        in the second pass; None where no plan fits.
    """
    states, most = [PartialPlan()], max(LEAST_PLANS, PLANS // len(costs))
    for number, cost in enumerate(costs):
        longer = (after for state in states for after in followed(state, cost, costs[number - 1]))
        fitting = [state for state in longer if state.greatest <= limit_bytes]
        grain = max(1, limit_bytes // RESOLUTION)
        states = _not_dominated(fitting, grain)
        while len(states) > most:
            grain *= 2
            states = _not_dominated(states, grain)
    # No run is left to start.
    states = [state for state in states if state.last is not Last.START]
    if not states:
        return None
    best = min(states, key=lambda state: (state.price, state.greatest))
    return _parts(best, len(costs)), best.greatest


def least_peak(costs: Sequence[BlockCost]) -> int:
    """Bytes below which no plan fits."""
    # With everything kept the first pass and the updates take less.
    low, high = 0, sum(max(cost.kept + cost.update_peak, cost.forward_peak) for cost in costs)
    while low < high:
        middle = (low + high) // 2
        found = cheapest(costs, middle)
        # Bytes are whole numbers, but a plan's peak only takes a few values: stop at one of them.
        low, high = (middle + 1, high) if found is None else (low, found[1])
    return high


def _not_dominated(states: Sequence[PartialPlan], grain: int) -> list[PartialPlan]:
    """Those for which there is no other one, ending alike, that is no worse in anything.

    Args:
        states: plans for the same blocks.
        grain: bytes that make no difference.
    """
    chosen: list[PartialPlan] = []
    needs: dict[Last, list[tuple[int, ...]]] = {last: [] for last in Last}
    for state in sorted(states, key=lambda s: (s.price, s.needs)):
        own, better = tuple(size // grain for size in state.needs), needs[state.last]
        a, b, c, d = own
        if any(w <= a and x <= b and y <= c and z <= d for w, x, y, z in better):
            continue
        better.append(own)
        chosen.append(state)
    return chosen


def _parts(plan: PartialPlan, count: int) -> tuple[Part, ...]:
    """The parts of a plan for `count` blocks."""
    plans = [plan]
    while plans[0].before is not None:
        plans.insert(0, plans[0].before)
    parts: list[Part] = []
    stop = count
    for start in reversed(range(count)):
        earlier, own = plans[start], plans[start + 1]
        recomputed = own.last in IN_A_RUN
        if start == 0 or (earlier.last in IN_A_RUN) != recomputed:
            held = own.starts if recomputed else 0
            parts.append(Part(start, stop, recomputed, own.last is Last.SLICED, held))
            stop = start
    return tuple(reversed(parts))
