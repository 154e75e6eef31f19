"""MEM-DFA's plan for a budget: which blocks of a chain are kept, and in what slices the rest runs.

What is kept is chosen by `kept_blocks`; where the budget has room, blocks that run again do so with
whole batches, which are faster than slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from mem_dfa.chain.block import Block
from mem_dfa.memory import kept_blocks
from mem_dfa.memory.batch_slices import peak_bytes, slice_counts
from mem_dfa.memory.budget import PREDICTION_MARGIN, too_little
from mem_dfa.memory.kept_blocks import Part
from mem_dfa.memory.partial_plan import BlockCost


@dataclass(frozen=True)
class Plan:
    """Kept blocks and runs in the order of the forward pass, with what they should cost.

    Attributes:
        parts: of the chain.
        first_counts: in how many slices each block of a run is worked on in the first pass.
        counts: the same in the second pass.
        peak_bytes: of the step.
    """

    parts: tuple[Part, ...]
    first_counts: tuple[int, ...]
    counts: tuple[int, ...]
    peak_bytes: int


class Planner:
    """Plans for one chain and batch."""

    def __init__(
        self,
        blocks: Sequence[Block],
        batch_size: int,
        slices: int | None = None,
        tiled: Sequence[keras.layers.Layer] = (),
    ) -> None:
        """Count what each block takes; for the arguments see `batch_slices.slice_counts`."""
        self._given = blocks, batch_size, slices, tiled
        self._least = slice_counts(*self._given)
        self.costs = [self._cost(number) for number in range(len(blocks))]

    def _cost(self, number: int) -> BlockCost:
        blocks, batch_size, _, tiled = self._given
        block, counts = blocks[number], self._least
        inputs = blocks[number - 1].bytes(batch_size).output if number else 0
        size = block.bytes(batch_size, tiled)
        in_slices = number == 0 or counts[number - 1] > 1
        replay_peak = self._replay_peak(number, counts, in_slices)
        # One slice at a time; those of the output add up, and of an input that was made whole no
        # slice is freed by itself.
        of_a_slice = block.bytes(-(-batch_size // counts[number]), tiled).forward_peak
        slices_peak = of_a_slice + size.output + (0 if in_slices else inputs)
        return BlockCost(
            kept=size.kept,
            input=inputs,
            output=size.output,
            forward_peak=size.forward_peak if number else size.output,
            # What keeps nothing takes no more than a replay.
            slices_peak=min(slices_peak, replay_peak),
            update_peak=size.update_peak,
            replay_peak=replay_peak,
            start_peak=self._replay_peak(number, counts, number == 0),
            is_sliced=counts[number] > 1,
            operations=block.operations_count(batch_size),
        )

    def _replay_peak(self, number: int, counts: Sequence[int], in_slices: bool) -> int:
        blocks, batch_size, _, tiled = self._given
        return peak_bytes(blocks, number, batch_size, counts[number], tiled, in_slices)

    def within(self, budget: int, beside: int = 0) -> Plan:
        """The plan that recomputes least of those whose predicted peak, with a margin, fits.

        Args:
            budget: bytes of the step.
            beside: bytes of what an update makes beside the block's own.

        Raises:
            UnsupportedError: no plan fits; says the least budget for which one does.
        """
        limit = int(budget / (1 + PREDICTION_MARGIN)) - beside
        found = kept_blocks.cheapest(self.costs, limit)
        if found is None:
            peak = kept_blocks.least_peak(self.costs) + beside
            raise too_little(budget, "plan, with hardly a block kept,", peak, "or smaller batches")
        parts, peak = found
        first_counts, counts = [1] * len(self.costs), [1] * len(self.costs)
        for part in parts:
            run = slice(part.start, part.stop)
            if part.recomputed:
                counts[run], taken = self._second_pass(part, limit - part.held)
                peak = max(peak, part.held + taken)
            if part.sliced:
                first_counts[run] = self._least[run]
        return Plan(parts, tuple(first_counts), tuple(counts), peak + beside)

    def _second_pass(self, run: Part, room: int) -> tuple[list[int], int]:
        """Slices of a run's blocks, as few as there is room for, and the bytes that they take."""
        positions = range(run.start, run.stop)
        for allowed in (room, 0):
            counts = slice_counts(*self._given, allowed)
            peak = max(
                self._replay_peak(
                    number, counts, number == 0 or (number > run.start and counts[number - 1] > 1)
                )
                for number in positions
            )
            if peak <= room:
                break
        return counts[run.start : run.stop], peak
