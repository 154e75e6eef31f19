"""The segments that recompute least within so many bytes.

For each position there is a front: ways to cut the blocks before it, of which none holds less and
has run less than another. Ways are rows of numbers, because of unlike blocks there are thousands.
Of so many a first search looks at few. What it finds bounds the second one, which leaves out ways
that cannot end with less: if every block that is run again saved all that is kept of it, and parts
of blocks could be run, the cheapest a byte would be run first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mem_dfa.memory.segments import BlockCost, Segment, segment_sizes

FEW, MOST = 50, 500
"""Ways of a front in each search; of more, those go that hold nearly as much as another."""
_HELD, _OPERATIONS, _PEAK, _RECOMPUTED, _START, _BEFORE = range(6)
_ROUNDING = 1e-9  # more than what floating-point numbers may add
Rows = np.ndarray
"""Ways: bytes held, operations run again, the peak, whether the last segment is recomputed, where
that starts, and the number of the way before it."""


def cheapest_segments(
    costs: Sequence[BlockCost], limit_bytes: int, most_operations: int | None = None
) -> list[Segment] | None:
    """The segments of the plan that runs least again, and of those the one with the least peak.

    Args:
        costs: of all blocks.
        limit_bytes: of the peak.
        most_operations: that are run again; None for as many as it takes.

    Returns:
        None where no plan fits.
    """
    rough, bound = None, most_operations
    if bound is None:
        rough = _search(costs, limit_bytes, FEW, np.inf)
        if rough is None:
            return None
        bound = rough[1]
    found = _search(costs, limit_bytes, MOST, bound) or rough
    return None if found is None else found[0]


def _search(
    costs: Sequence[BlockCost], limit_bytes: int, most: int, bound: float
) -> tuple[list[Segment], int] | None:
    """Segments, and the operations that are run again, of which there are not more than a bound."""
    count = len(costs)
    arriving: list[list[Rows]] = [[] for _ in range(count + 1)]
    arriving[0] = [np.zeros((1, 6), np.int64)]
    fronts: list[Rows] = []
    for position in range(count):
        ways = np.concatenate([np.zeros((0, 6), np.int64), *arriving[position]])
        more = _least_more(costs[position:], ways[:, _HELD] - limit_bytes)
        front = _front(ways[ways[:, _OPERATIONS] + more <= bound], most)
        fronts.append(front)
        sizes = segment_sizes(costs[position:])
        kept = _kept(front, costs[position], limit_bytes, position)
        arriving[position + 1].append(kept)
        for stop, size in enumerate(sizes, start=position + 1):
            # The front begins with what holds least.
            fitting = front[: _count_up_to(front, limit_bytes - size.replayed_peak)]
            if not len(fitting):
                break  # a longer one takes more
            held = costs[stop - 1].output
            adds = (held, size.operations, size.replayed_peak, True)
            arriving[stop].append(_longer(fitting, np.arange(len(fitting)), position, *adds))
    whole = np.concatenate(arriving[count])
    if not len(whole):
        return None
    best = whole[np.lexsort((whole[:, _PEAK], whole[:, _OPERATIONS]))[0]]
    return _segments(fronts, best, count), int(best[_OPERATIONS])


def _least_more(costs: Sequence[BlockCost], over: np.ndarray) -> np.ndarray:
    """Operations that are run at least, if blocks to come are to hold less by so many bytes.

    Args:
        costs: of the blocks to come.
        over: bytes that are above the limit before these keep anything.
    """
    by_price = sorted(costs, key=lambda cost: cost.operations / max(1, cost.kept))
    saved, run = (
        np.cumsum([0, *(getattr(cost, name) for cost in by_price)])
        for name in ("kept", "operations")
    )
    return np.floor(np.interp(over + saved[-1], saved, run) * (1 - _ROUNDING))


def _front(ways: Rows, most: int) -> Rows:
    """Without those that hold no less and have run no less than another, by bytes held."""
    ways = ways[np.lexsort((ways[:, _PEAK], ways[:, _OPERATIONS], ways[:, _HELD]))]
    least = np.minimum.accumulate(ways[:, _OPERATIONS])
    has_run_less = ways[1:, _OPERATIONS] < least[:-1]
    chosen = np.concatenate([ways[:1], ways[1:][has_run_less]])
    if len(chosen) <= most:
        return chosen
    return chosen[np.linspace(0, len(chosen) - 1, most).astype(int)]


def _count_up_to(front: Rows, held: int) -> int:
    return int(np.searchsorted(front[:, _HELD], held, side="right"))


def _kept(front: Rows, cost: BlockCost, limit_bytes: int, position: int) -> Rows:
    """Each way, and one more block that is kept; where that fits."""
    # What is kept holds its input, which a checkpoint is not where it is made anew.
    restored = cost.restored * front[:, _RECOMPUTED]
    fits = np.flatnonzero(front[:, _HELD] + cost.backward_peak + restored <= limit_bytes)
    own, peak = cost.kept + restored[fits], cost.backward_peak + restored[fits]
    return _longer(front[fits], fits, position, own, 0, peak, False)


def _longer(
    ways: Rows,
    numbers: np.ndarray,
    position: int,
    held: int | np.ndarray,
    operations: int,
    peak: int | np.ndarray,
    recomputed: bool,
) -> Rows:
    """Ways with one more segment."""
    longer = np.empty_like(ways)
    longer[:, _HELD] = ways[:, _HELD] + held
    longer[:, _OPERATIONS] = ways[:, _OPERATIONS] + operations
    longer[:, _PEAK] = np.maximum(ways[:, _PEAK], ways[:, _HELD] + peak)
    longer[:, _RECOMPUTED] = recomputed
    longer[:, _START] = position
    longer[:, _BEFORE] = numbers
    return longer


def _segments(fronts: Sequence[Rows], last: np.ndarray, stop: int) -> list[Segment]:
    """Of a way, from its end to its beginning and turned round."""
    found: list[Segment] = []
    while stop:
        start = int(last[_START])
        found.append(Segment(start, stop, bool(last[_RECOMPUTED])))
        last, stop = fronts[start][last[_BEFORE]], start
    return found[::-1]
