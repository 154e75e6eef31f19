"""A plan for the first blocks of a chain, and how it may go on: see `kept_blocks`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto


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


class Last(Enum):
    """What the last block of a plan is."""

    NOTHING = auto()  # there is none yet
    KEPT = auto()  # and so is the next one
    START = auto()  # kept, and a run starts from its output
    WHOLE = auto()  # in a run
    SLICED = auto()  # in a run, in slices in the first pass


IN_A_RUN = (Last.WHOLE, Last.SLICED)


@dataclass(frozen=True)
class PartialPlan:
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

    last: Last = Last.NOTHING
    held: int = 0
    starts: int = 0
    start: int = 0
    update_peak: int = 0
    peak: int = 0
    recomputed: int = 0
    sliced: int = 0
    before: PartialPlan | None = None

    @property
    def greatest(self) -> int:
        """Bytes of all three phases."""
        return max(self.peak, self.update_peak)

    @property
    def needs(self) -> tuple[int, ...]:
        """What decides which plans may follow; less of each is better."""
        return self.held, self.update_peak, self.starts, self.starts + self.start

    @property
    def price(self) -> tuple[int, int]:
        """Operations that run again, and those of them in slices."""
        return self.recomputed, self.sliced


def followed(state: PartialPlan, cost: BlockCost, before: BlockCost) -> Iterator[PartialPlan]:
    """A plan with one more block, in every way that the one before it allows."""
    if state.last is not Last.START:
        yield from _with_kept(state, cost, before)
    if state.last is not Last.KEPT:
        kinds = [state.last] if state.last in IN_A_RUN else IN_A_RUN
        yield from (_with_recomputed(state, cost, kind) for kind in kinds)


def _with_kept(state: PartialPlan, cost: BlockCost, before: BlockCost) -> Iterator[PartialPlan]:
    held, peak = state.held, state.peak
    if state.last in IN_A_RUN:
        # Its gradient needs its input. To join slices takes their bytes once more.
        joined = state.last is Last.SLICED and before.is_sliced
        peak = max(peak, held + cost.input * (2 if joined else 1))
        held += cost.input
    kept = replace(
        state,
        last=Last.KEPT,
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
    yield replace(kept, last=Last.START, start=cost.output, update_peak=update_peak)


def _with_recomputed(state: PartialPlan, cost: BlockCost, kind: Last) -> PartialPlan:
    starts_run = state.last not in IN_A_RUN
    again = cost.start_peak if starts_run else cost.replay_peak
    first = cost.forward_peak
    if kind is Last.SLICED and cost.is_sliced:
        first = cost.slices_peak
    # What a run starts from is held, and counted, already.
    first -= cost.input if starts_run else 0
    return replace(
        state,
        last=kind,
        peak=max(state.peak, state.held + first, state.starts + again),
        recomputed=state.recomputed + cost.operations,
        sliced=state.sliced + (cost.operations if kind is Last.SLICED else 0),
        before=state,
    )
