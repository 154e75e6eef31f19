"""Segments of a chain, what they cost, and the plans that are made of them.

Of a *kept* segment everything is held from the forward pass; of a *recomputed* one only its input,
the checkpoint, and it runs again in the backward pass. While a segment is at work in the backward
pass, what is held by the segments before it is still there, so peak = held before + its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.memory.actions import Action


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


@dataclass(frozen=True)
class SegmentSize:
    """What a segment takes by itself: bytes it keeps, its peak backward, its operations."""

    kept: int
    peak: int
    operations: int
    restored: int

    @property
    def replayed_peak(self) -> int:
        """With the input that was made anew for it."""
        return self.peak + self.restored


def segment_sizes(costs: Sequence[BlockCost]) -> list[SegmentSize]:
    """Of the segments of 1, 2, … blocks from the first of `costs` on."""
    sizes, kept, peak, operations = [], 0, 0, 0
    for cost in costs:
        peak = max(peak, kept + cost.backward_peak)
        kept += cost.kept
        operations += cost.operations
        sizes.append(SegmentSize(kept, peak, operations, costs[0].restored))
    return sizes


def plan_of(segments: Iterable[Segment], costs: Sequence[BlockCost]) -> Plan:
    """The plan of segments in order, with what it should cost."""
    held = peak = operations = 0
    chosen, after_checkpoint = tuple(segments), False
    for segment in chosen:
        size = segment_sizes(costs[segment.start : segment.stop])[-1]
        is_made_anew = segment.recomputed or after_checkpoint
        # What is kept holds its input, which a checkpoint is not where it is made anew.
        own = size.replayed_peak if is_made_anew else size.peak
        peak = max(peak, held + own)
        if segment.recomputed:
            held += costs[segment.stop - 1].output
            operations += size.operations
        else:
            held += size.kept + (size.restored if is_made_anew else 0)
        after_checkpoint = segment.recomputed
    return Plan(chosen, peak, operations)
