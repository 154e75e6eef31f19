"""Which blocks are kept and which are run again: plans for checkpointing, from shapes.

A plan cuts the chain into segments. Of a *kept* one everything is held from the forward pass; of a
*recomputed* one only its input, the checkpoint, and it runs again in the backward pass. Each block
is recomputed at most once. While a segment is at work in the backward pass, what is held by the
segments before it is still there, so peak = held before + the segment's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError
from mem_dfa.memory.actions import Action
from mem_dfa.memory.budget import PREDICTION_MARGIN

# A last block's small gradient is no reason to run a whole block again.
PEAK_TOLERANCE = 0.015


@dataclass(frozen=True)
class Segment:
    """Blocks `start` to `stop` - 1, kept or recomputed together."""

    start: int
    stop: int
    recomputed: bool


@dataclass(frozen=True)
class BlockCost:
    """What a plan needs to know of one block.

    Attributes:
        kept: bytes it keeps for its gradient.
        output: bytes of its output, which a checkpoint after it holds.
        backward_peak: bytes while it is differentiated: its own, and the error signals at its
            output and input.
        operations: of one run.
        restored: bytes of its input where that is made anew from a checkpoint; 0 where the
            checkpoint is the input itself.
    """

    kept: int
    output: int
    backward_peak: int
    operations: int
    restored: int = 0


@dataclass(frozen=True)
class Plan:
    """Segments in the order of the forward pass, with what they should cost."""

    segments: tuple[Segment, ...]
    peak_bytes: int
    recomputed_operations: int

    @property
    def actions(self) -> list[Action]:
        """What to do in a step, in order."""
        forward = [action for segment in self.segments for action in _forward(segment)]
        backward = [action for segment in reversed(self.segments) for action in _backward(segment)]
        return [*forward, *backward]


def _forward(segment: Segment) -> Iterator[Action]:
    if segment.recomputed:
        yield Action("advance", segment.start, segment.stop)
        return
    yield from _recorded(segment)


def _backward(segment: Segment) -> Iterator[Action]:
    if segment.recomputed:
        yield from _recorded(segment)
    for block in reversed(range(segment.start, segment.stop)):
        yield Action("backward", block, block + 1)


def _recorded(segment: Segment) -> Iterator[Action]:
    for block in range(segment.start, segment.stop):
        yield Action("record", block, block + 1)
        yield Action("forget", block, block)


@dataclass(frozen=True)
class _State:
    """A plan for the blocks before some position."""

    held: int
    operations: int
    peak: int
    last: Segment | None = None
    before: _State | None = None

    def segments(self) -> tuple[Segment, ...]:
        found: list[Segment] = []
        state: _State | None = self
        while state is not None and state.last is not None:
            found.append(state.last)
            state = state.before
        return tuple(reversed(found))

    def plan(self) -> Plan:
        return Plan(self.segments(), self.peak, self.operations)


def block_costs(
    blocks: Sequence[Block], batch_size: int, kept_bytes: Callable[[int], int] | None = None
) -> list[BlockCost]:
    """The costs of a chain's blocks for a batch.

    Args:
        blocks: of the chain.
        batch_size: examples in a batch.
        kept_bytes: what is held of an output of so many values, from which it is made anew; None
            where outputs are kept as they are.
    """
    costs, restored = [], 0
    for number, block in enumerate(blocks):
        size = block.bytes(batch_size)
        # No error signal is formed at the input of the whole chain.
        peak = size.backward_peak if number else size.update_peak
        output, operations = size.output, block.operations_count(batch_size)
        if kept_bytes is not None:
            output = kept_bytes(size.output // tf.as_dtype(block.output.dtype).size)
        costs.append(BlockCost(size.kept, output, peak, operations, restored))
        restored = size.output if kept_bytes is not None else 0
    return costs


def least_peak(costs: Sequence[BlockCost]) -> Plan:
    """The plan with the least peak; within a hundredth of it, the one that recomputes least.

    With n equal blocks its peak grows as √(2n).
    """
    low = 0
    high = sum(cost.kept for cost in costs) + max(c.backward_peak + c.restored for c in costs)
    sizes = [_segment_sizes(costs[position:]) for position in range(len(costs))]
    # Bytes are whole numbers, but a plan's peak only takes a few values: stop at one of them.
    while low < high:
        middle = (low + high) // 2
        peak = _peak_within(costs, sizes, middle)
        if peak is None:
            low = middle + 1
        else:
            high = peak
    return _within(costs, int(high * (1 + PEAK_TOLERANCE)))[0].plan()


def within_budget(costs: Sequence[BlockCost], limit_bytes: int) -> Plan:
    """The fastest plan whose predicted peak, with a margin, fits.

    Raises:
        UnsupportedError: no plan fits; says the least budget for which one does.
    """
    plan = cheapest(costs, int(limit_bytes / (1 + PREDICTION_MARGIN)))
    if plan is None:
        least = int(least_peak(costs).peak_bytes * (1 + PREDICTION_MARGIN)) + 1
        raise UnsupportedError(
            f"Received a budget of {limit_bytes} bytes: no plan that recomputes each block at most "
            f"once takes so little; the least that can be kept is {least} bytes "
            f"({least / 2**20:.1f} MiB)."
        )
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
        least = int(min(plan.peak_bytes for plan in plans) * (1 + PREDICTION_MARGIN)) + 1
        raise UnsupportedError(
            f"Received a budget of {limit_bytes} bytes: no plan of checkpoints every so many "
            f"blocks takes so little; the least that can be kept is {least} bytes "
            f"({least / 2**20:.1f} MiB)."
        )
    return min(fitting, key=lambda plan: (plan.recomputed_operations, plan.peak_bytes))


def at_boundaries(costs: Sequence[BlockCost], boundaries: Iterable[int]) -> Plan:
    """The plan with checkpoints before the given blocks; the last segment is kept.

    Args:
        costs: of all blocks.
        boundaries: positions, counted from 0, of the blocks whose input is a checkpoint.
    """
    cuts = sorted({0, *boundaries, len(costs)})
    state = _State(0, 0, 0)
    for start, stop in itertools.pairwise(cuts):
        size = _segment_sizes(costs[start:stop])[-1]
        state = _append(state, costs, start, stop, stop < len(costs), size)
    return state.plan()


def cheapest(costs: Sequence[BlockCost], limit_bytes: int) -> Plan | None:
    """The plan that recomputes least among those whose peak is at most `limit_bytes`."""
    found = _within(costs, limit_bytes)
    return found[0].plan() if found else None


def _within(costs: Sequence[BlockCost], limit_bytes: int) -> list[_State]:
    """Whole plans whose peak is at most `limit_bytes`, the one that recomputes least first."""
    count = len(costs)
    states: list[list[_State]] = [[] for _ in range(count + 1)]
    states[0] = [_State(0, 0, 0)]
    for position in range(count):
        sizes = _segment_sizes(costs[position:])
        for state in _not_dominated(states[position]):
            kept = _append(state, costs, position, position + 1, False, sizes[0])
            if kept.peak <= limit_bytes:
                states[position + 1].append(kept)
            for stop, size in enumerate(sizes, start=position + 1):
                if state.held + size.replayed_peak > limit_bytes:
                    break  # a longer one takes more
                states[stop].append(_append(state, costs, position, stop, True, size))
    return sorted(states[count], key=lambda state: (state.operations, state.peak))


def _peak_within(
    costs: Sequence[BlockCost], sizes: Sequence[Sequence[_SegmentSize]], limit_bytes: int
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


@dataclass(frozen=True)
class _SegmentSize:
    """What a segment takes by itself: bytes it keeps, its peak backward, its operations."""

    kept: int
    peak: int
    operations: int
    restored: int

    @property
    def replayed_peak(self) -> int:
        """With the input that was made anew for it."""
        return self.peak + self.restored


def _segment_sizes(costs: Sequence[BlockCost]) -> list[_SegmentSize]:
    """Of the segments of 1, 2, … blocks from the first of `costs` on."""
    sizes, kept, peak, operations = [], 0, 0, 0
    for cost in costs:
        peak = max(peak, kept + cost.backward_peak)
        kept += cost.kept
        operations += cost.operations
        sizes.append(_SegmentSize(kept, peak, operations, costs[0].restored))
    return sizes


def _append(
    state: _State,
    costs: Sequence[BlockCost],
    start: int,
    stop: int,
    recomputed: bool,
    size: _SegmentSize,
) -> _State:
    """The state after one more segment."""
    kept, peak = size.kept, size.peak
    # What is kept holds its input, which a checkpoint is not where it is made anew.
    if recomputed or (state.last and state.last.recomputed):
        kept, peak = kept + size.restored, size.replayed_peak
    return _State(
        held=state.held + (costs[stop - 1].output if recomputed else kept),
        operations=state.operations + (size.operations if recomputed else 0),
        peak=max(state.peak, state.held + peak),
        last=Segment(start, stop, recomputed),
        before=state,
    )


def _not_dominated(states: Sequence[_State]) -> list[_State]:
    """Those that no other beats both in bytes held and in operations."""
    chosen: list[_State] = []
    for state in sorted(states, key=lambda s: (s.held, s.operations, s.peak)):
        if not chosen or state.operations < chosen[-1].operations:
            chosen.append(state)
    return chosen
