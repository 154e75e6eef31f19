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
whatever follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

# Plans whose bytes differ by less than such a share of the limit count as alike.
RESOLUTION = 256


@dataclass(frozen=True)
class BlockCost:
    """What a plan needs to know of one block.

    Attributes:
        kept: bytes it keeps for its gradient.
        input: bytes of its input; 0 of the batch, which is there before the step.
        output: bytes of its output.
        forward_peak: bytes while it runs and nothing is kept, its input included.
        slices_peak: the same in slices of the batch, if they are the least that a replay takes.
        update_peak: bytes while it is differentiated and updated, what it keeps included.
        replay_peak: bytes, at the least, while it is run again and updated, its input included.
        start_peak: the same where a run starts with it, so that its input is there whole.
        is_sliced: whether the least is that of slices of the batch.
        operations: of one run.
    """

    kept: int
    input: int
    output: int
    forward_peak: int
    slices_peak: int
    update_peak: int
    replay_peak: int
    start_peak: int
    is_sliced: bool
    operations: int


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


class _Last(Enum):
    """What the last block of a plan is."""

    NOTHING = auto()  # there is none yet
    KEPT = auto()  # and so is the next one
    START = auto()  # kept, and a run starts from its output
    WHOLE = auto()  # in a run
    SLICED = auto()  # in a run, in slices in the first pass


_IN_A_RUN = (_Last.WHOLE, _Last.SLICED)


@dataclass(frozen=True)
class _State:
    """A plan for the blocks before some position.

    Attributes:
        last: what the last of them is.
        held: bytes after the first pass of them.
        starts: bytes of what runs start from that are over.
        start: bytes of what the run that goes on starts from.
        update_peak: bytes during their updates.
        peak: bytes during the other two phases.
        recomputed: operations of those in runs.
        sliced: operations of those in slices in the first pass.
        before: the plan without the last of them.
    """

    last: _Last = _Last.NOTHING
    held: int = 0
    starts: int = 0
    start: int = 0
    update_peak: int = 0
    peak: int = 0
    recomputed: int = 0
    sliced: int = 0
    before: _State | None = None

    @property
    def greatest(self) -> int:
        return max(self.peak, self.update_peak)

    @property
    def needs(self) -> tuple[int, ...]:
        """What decides which plans may follow; less of each is better."""
        return self.held, self.update_peak, self.starts, self.starts + self.start

    @property
    def price(self) -> tuple[int, int]:
        return self.recomputed, self.sliced


def cheapest(costs: Sequence[BlockCost], limit_bytes: int) -> tuple[tuple[Part, ...], int] | None:
    """The plan that recomputes least among those whose peak is at most `limit_bytes`.

    Returns:
        Its parts in the order of the forward pass, and its peak in bytes where runs take the least
        in the second pass; None where no plan fits.
    """
    states = [_State()]
    for number, cost in enumerate(costs):
        longer = (after for state in states for after in _followed(state, cost, costs[number - 1]))
        fitting = [state for state in longer if state.greatest <= limit_bytes]
        states = _not_dominated(fitting, max(1, limit_bytes // RESOLUTION))
    # No run is left to start.
    states = [state for state in states if state.last is not _Last.START]
    if not states:
        return None
    best = min(states, key=lambda state: (state.price, state.greatest))
    return _parts(best, len(costs)), best.greatest


def least_peak(costs: Sequence[BlockCost]) -> int:
    """Bytes below which no plan fits."""
    low, high = 0, _State().greatest + sum(cost.kept + cost.update_peak for cost in costs)
    high = max(high, *(max(cost.forward_peak, cost.start_peak) for cost in costs))
    while low < high:
        middle = (low + high) // 2
        found = cheapest(costs, middle)
        # Bytes are whole numbers, but a plan's peak only takes a few values: stop at one of them.
        low, high = (middle + 1, high) if found is None else (low, found[1])
    return high


def _followed(state: _State, cost: BlockCost, before: BlockCost) -> Iterator[_State]:
    """A plan with one more block, in every way that the one before it allows."""
    if state.last is not _Last.START:
        yield from _with_kept(state, cost, before)
    if state.last is not _Last.KEPT:
        kinds = [state.last] if state.last in _IN_A_RUN else _IN_A_RUN
        yield from (_with_recomputed(state, cost, kind) for kind in kinds)


def _with_kept(state: _State, cost: BlockCost, before: BlockCost) -> Iterator[_State]:
    held, peak = state.held, state.peak
    if state.last in _IN_A_RUN:
        # Its gradient needs its input. To join slices takes their bytes once more.
        joined = state.last is _Last.SLICED and before.is_sliced
        peak = max(peak, held + cost.input * (2 if joined else 1))
        held += cost.input
    kept = replace(
        state,
        last=_Last.KEPT,
        held=held + cost.kept,
        starts=state.starts + state.start,
        start=0,
        update_peak=max(state.update_peak, held + cost.update_peak),
        peak=max(peak, held + max(cost.kept, cost.forward_peak - cost.input)),
        before=state,
    )
    yield kept
    # What a run starts from stays during the updates of that block and of those before it.
    beside = cost.output if cost.kept > cost.output else 0
    earlier = state.update_peak + cost.output if state.update_peak else 0
    update_peak = max(earlier, held + cost.update_peak + beside)
    yield replace(kept, last=_Last.START, start=cost.output, update_peak=update_peak)


def _with_recomputed(state: _State, cost: BlockCost, kind: _Last) -> _State:
    starts_run = state.last not in _IN_A_RUN
    again = cost.start_peak if starts_run else cost.replay_peak
    first = cost.forward_peak
    if kind is _Last.SLICED and cost.is_sliced:
        first = cost.slices_peak
    # What a run starts from is held, and counted, already.
    first -= cost.input if starts_run else 0
    return replace(
        state,
        last=kind,
        peak=max(state.peak, state.held + first, state.starts + again),
        recomputed=state.recomputed + cost.operations,
        sliced=state.sliced + (cost.operations if kind is _Last.SLICED else 0),
        before=state,
    )


def _not_dominated(states: Sequence[_State], grain: int) -> list[_State]:
    """Those for which there is no other one, ending alike, that is no worse in anything.

    Args:
        states: plans for the same blocks.
        grain: bytes that make no difference.
    """
    chosen: list[_State] = []
    needs: dict[_Last, list[tuple[int, ...]]] = {last: [] for last in _Last}
    for state in sorted(states, key=lambda s: (s.price, s.needs)):
        own, better = tuple(size // grain for size in state.needs), needs[state.last]
        a, b, c, d = own
        if any(w <= a and x <= b and y <= c and z <= d for w, x, y, z in better):
            continue
        better.append(own)
        chosen.append(state)
    return chosen


def _parts(state: _State, count: int) -> tuple[Part, ...]:
    """The parts of a plan for `count` blocks."""
    parts: list[Part] = []
    stop = count
    for start in reversed(range(count)):
        earlier = state.before
        recomputed = state.last in _IN_A_RUN
        if start == 0 or (earlier.last in _IN_A_RUN) != recomputed:
            is_sliced = state.last is _Last.SLICED
            parts.append(
                Part(start, stop, recomputed, is_sliced, held=state.starts if recomputed else 0)
            )
            stop = start
        state = earlier
    return tuple(reversed(parts))
