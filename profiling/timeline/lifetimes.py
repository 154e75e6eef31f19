"""From allocation events to a timeline: lifetimes, what was there before, whether it is exact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from mem_dfa.profiling.recording.events import AllocationEvent, garbage_kept, of_allocator
from mem_dfa.profiling.recording.held_tensors import Held, Names
from mem_dfa.profiling.recording.spans import Span
from mem_dfa.profiling.timeline.agreement import fault
from mem_dfa.profiling.timeline.attribution import Attribution
from mem_dfa.profiling.timeline.data import TimelineData
from mem_dfa.profiling.timeline.zeros import are_zeros, kept_zeros
from mem_dfa.profiling.words import CONSTANT, INPUT, RESIDENT

from mem_dfa.units import ALLOCATION_UNIT_BYTES

Filled = TypeVar("Filled", bound=TimelineData)
# The op of the row for all that was there before and has no name.
UNNAMED = "rounding, and tensors that Python does not hold"
_EVENT_FIELDS = ("kind", "address", "allocated_bytes", "requested_bytes", "running_bytes")


@dataclass(slots=True)
class _Tensor:
    """One row of `Timeline.tensors`; resident unless an allocation says otherwise."""

    address: int
    allocated_bytes: int
    requested_bytes: int
    op: str = ""
    shape: str = ""
    dtype: str = ""
    layer: str = ""
    block: str = ""
    phase: str = RESIDENT
    category: str = RESIDENT
    start_ns: int = -1
    end_ns: int = 0


def fill(
    timeline: Filled,
    events: Sequence[AllocationEvent],
    *,
    allocator: str | None = None,
    device: str = "CPU:0",
    names: Names | None = None,
    held_before: Sequence[Held] = (),
    held_after: Sequence[Held] = (),
    operations: Sequence[Span] = (),
    allocator_peak_bytes: int | None = None,
) -> Filled:
    """Give an empty timeline its data.

    Args:
        timeline: an empty one.
        events: in any order.
        allocator: name of the device's; may be left out where all events are of one allocator.
        device: the device's name.
        names: what the model calls its parts.
        held_before: what Python held when the recording began.
        held_after: what it held when it ended; says which new tensors became variables.
        operations: what ran.
        allocator_peak_bytes: the allocator's own peak, if reset when the recording began.

    Raises:
        TraceError: no events of that allocator, or of several and none named.
    """
    chosen = of_allocator(sorted(events, key=lambda event: event.time_ps), allocator)
    attribution = Attribution(names or Names(), {(event.op, event.shape) for event in chosen})
    with garbage_kept():
        lifetimes = _Lifetimes(chosen, attribution)
        lifetimes.name_residents(held_before)
        lifetimes.name_what_stays(held_after)
        timeline.tensors = lifetimes.tensor_table()
        timeline.events = lifetimes.event_table(timeline.tensors)
    timeline.resident_bytes = lifetimes.resident_bytes
    timeline.duration_ns = lifetimes.duration_ns
    timeline.device = device
    timeline.operations = _operation_table(operations, lifetimes.epoch_ps)
    timeline.attribution = _attribution(chosen)
    timeline.allocator_peak_bytes = allocator_peak_bytes
    timeline.fault = fault(timeline)
    return timeline


class _Lifetimes:
    """Allocations matched with their deallocations by address."""

    def __init__(self, events: Sequence[AllocationEvent], attribution: Attribution) -> None:
        self.events, self.attribution = events, attribution
        self.epoch_ps = events[0].time_ps
        # Two events may carry one nanosecond; what is alive at a time must not depend on that.
        self.times_ns: list[int] = []
        for event in events:
            time_ns = (event.time_ps - self.epoch_ps) // 1000
            self.times_ns.append(max(time_ns, self.times_ns[-1] + 1) if self.times_ns else 0)
        self.duration_ns = self.times_ns[-1]
        self.resident_bytes = events[0].running_bytes - _change(events[0])
        self.residents: list[_Tensor] = []  # those freed in the recording, at first
        self.allocated: list[_Tensor] = []
        # Row of each event in its list, and whether that is `residents`.
        self.rows: list[tuple[bool, int]] = []
        alive: dict[tuple[int, bool], int] = {}
        for event, time_ns in zip(events, self.times_ns, strict=True):
            self.rows.append(self._match(event, time_ns, alive))

    def _match(
        self, event: AllocationEvent, time_ns: int, alive: dict[tuple[int, bool], int]
    ) -> tuple[bool, int]:
        # What has no bytes shares its address with something that has.
        chunk = event.address, event.allocated_bytes > 0
        if event.kind == "allocation":
            place = self.attribution.place(event.op, event.scope, event.region_type)
            known = *_sizes(event), event.op, event.shape, event.dtype, *place
            self.allocated.append(_Tensor(*known, time_ns, self.duration_ns + 1))
            row = len(self.allocated) - 1
            if chunk in alive:  # its deallocation was lost
                self.allocated[alive[chunk]].end_ns = time_ns
            alive[chunk] = row
            return False, row
        freed = alive.pop(chunk, None)
        if freed is None:
            self.residents.append(_Tensor(*_sizes(event), end_ns=time_ns))
            return True, len(self.residents) - 1
        self.allocated[freed].end_ns = time_ns
        return False, freed

    def name_residents(self, held: Sequence[Held]) -> None:
        """Name what was there before, as far as Python held it; one row for all the rest."""
        by_address = {item.address: item for item in held}
        for tensor in self.residents:
            item = by_address.pop(tensor.address, None)
            if item is not None:
                self._name(tensor, item)
        unnamed_bytes = self.resident_bytes - sum(t.allocated_bytes for t in self.residents)
        # Chunks begin at multiples of the unit from their region's start. What lies elsewhere,
        # such as a constant in NumPy's memory, is not of this allocator.
        offsets = {event.address % ALLOCATION_UNIT_BYTES for event in self.events}
        for item in by_address.values():
            size = _in_units(item.nbytes)
            if item.address % ALLOCATION_UNIT_BYTES not in offsets or size > unnamed_bytes:
                continue
            tensor = _Tensor(item.address, size, item.nbytes, end_ns=self.duration_ns + 1)
            self._name(tensor, item)
            self.residents.append(tensor)
            unnamed_bytes -= size
        for tensor in self._zeros():
            if tensor.allocated_bytes <= unnamed_bytes:
                self.residents.append(tensor)
                unnamed_bytes -= tensor.allocated_bytes
        if unnamed_bytes:
            end_ns = self.duration_ns + 1
            rest = _Tensor(0, unnamed_bytes, unnamed_bytes, UNNAMED, end_ns=end_ns)
            self.residents.append(rest)

    def _zeros(self) -> Iterator[_Tensor]:
        for op, event in kept_zeros(self.events).items():
            place = self.attribution.place(event.op, event.scope, event.region_type)
            size = _in_units(event.requested_bytes)
            tensor = _Tensor(0, size, event.requested_bytes, op, event.shape, event.dtype)
            tensor.layer, tensor.block, tensor.category = place.layer, place.block, CONSTANT
            tensor.end_ns = self.duration_ns + 1
            yield tensor

    def _name(self, tensor: _Tensor, item: Held) -> None:
        tensor.op, tensor.shape, tensor.dtype = item.name, item.shape, item.dtype
        tensor.layer, tensor.category = item.layer, item.category
        block = self.attribution.block_of_layer(item.layer)
        tensor.block = block or ("input" if item.category == INPUT else item.block)

    def name_what_stays(self, held: Sequence[Held]) -> None:
        """A tensor that a variable holds at the end was made to be that variable's value."""
        variables = {item.address: item for item in held if item.name}
        for tensor in self.allocated:
            if tensor.end_ns <= self.duration_ns:
                continue
            if are_zeros(tensor.op):
                tensor.category = CONSTANT
            item = variables.get(tensor.address)
            if item is not None:
                tensor.category = item.category
                tensor.layer = tensor.layer or item.layer
                tensor.block = tensor.block or self.attribution.block_of_layer(item.layer)

    def tensor_table(self) -> pd.DataFrame:
        rows = [*self.residents, *self.allocated]
        for tensor in rows:
            # A layer's block may be stated by its forward operations alone, and later than here.
            if tensor.layer and tensor.block == tensor.layer:
                tensor.block = self.attribution.block_of_layer(tensor.layer)
        columns = {name: [getattr(row, name) for row in rows] for name in _Tensor.__slots__}
        return pd.DataFrame(columns)

    def event_table(self, tensors: pd.DataFrame) -> pd.DataFrame:
        columns: dict[str, Any] = {"time_ns": self.times_ns}
        for name in _EVENT_FIELDS:
            columns[name] = [getattr(event, name) for event in self.events]
        offset = len(self.residents)
        rows = np.array([row if resident else offset + row for resident, row in self.rows])
        for name in ("op", "shape", "dtype", "layer", "block", "phase", "category"):
            columns[name] = tensors[name].to_numpy()[rows]
        columns["tensor"] = rows
        return pd.DataFrame(columns)


def _change(event: AllocationEvent) -> int:
    return event.allocated_bytes if event.kind == "allocation" else -event.allocated_bytes


def _in_units(nbytes: int) -> int:
    return -(-nbytes // ALLOCATION_UNIT_BYTES) * ALLOCATION_UNIT_BYTES


def _sizes(event: AllocationEvent) -> tuple[int, int, int]:
    return event.address, event.allocated_bytes, event.requested_bytes


def _operation_table(operations: Sequence[Span], epoch_ps: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "start_ns": [(span.start_ps - epoch_ps) // 1000 for span in operations],
            "end_ns": [(span.end_ps - epoch_ps) // 1000 for span in operations],
            "name": [span.name for span in operations],
            "thread": [span.thread for span in operations],
        }
    )


def _attribution(events: Sequence[AllocationEvent]) -> str:
    """A key of `words.ATTRIBUTIONS`: what holds for most of the bytes."""
    counts = dict.fromkeys(("xla", "graph", "eager"), 0)
    spanned = False
    for event in events:
        if event.kind == "allocation":
            counts[_execution(event)] += event.allocated_bytes
            spanned = spanned or bool(event.scope)
    execution = max(counts, key=counts.__getitem__)
    # Additions between two layers lie in no span, however many bytes they make.
    return "eager with layers" if execution == "eager" and spanned else execution


def _execution(event: AllocationEvent) -> str:
    """How the operation of one allocation was run, as its name tells."""
    if event.op.startswith(("__inference", "XlaLaunch", "_Xla")):
        return "xla"
    return "graph" if "/" in event.op else "eager"
