"""Allocation events of a profiler recording: who asked for how many bytes, and when."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mem_dfa.profiling.errors import TraceError
from mem_dfa.profiling.recording import xplane
from mem_dfa.profiling.recording.spans import Scopes

_KINDS: dict[str, Literal["allocation", "deallocation"]] = {
    "MemoryAllocation": "allocation",
    "MemoryDeallocation": "deallocation",
}
_STATISTICS = {
    **dict.fromkeys(("allocator_name", "tf_op", "shape", "region_type"), str),
    **dict.fromkeys(("addr", "allocation_bytes", "requested_bytes", "bytes_allocated"), int),
    **dict.fromkeys(("peak_bytes_in_use", "data_type"), int),
}


@dataclass(frozen=True, slots=True)
class AllocationEvent:
    """One allocation or deallocation by a TensorFlow allocator.

    Attributes:
        time_ps: picoseconds since the recording's epoch; it orders the events of all threads,
            because the allocator takes the time while it holds its lock.
        kind: "allocation" or "deallocation".
        allocator: the allocator's name.
        address: of the chunk, in the device's memory; reused once the chunk is freed.
        allocated_bytes: size of the chunk that was handed out or taken back.
        requested_bytes: what the operation asked for; a deallocation repeats its allocation's.
        running_bytes: allocated bytes alive in this allocator after the event.
        peak_bytes: greatest `running_bytes` since the allocator's statistics were last reset.
        op: full name of the operation that allocates, where TensorFlow knows it; "" otherwise and
            on every deallocation.
        shape: of the tensor, such as "[32,10]"; "" where `op` is.
        dtype: of the tensor, such as "float32"; "" where `op` is.
        region_type: the tensor's use, such as "output" or "temp"; "" where `op` is.
        scope: spans that surround the allocation on its thread, such as "forward/block_001/conv_1";
            "" where there is none. Ordered from the outermost.
    """

    time_ps: int
    kind: Literal["allocation", "deallocation"]
    allocator: str
    address: int
    allocated_bytes: int
    requested_bytes: int
    running_bytes: int
    peak_bytes: int
    op: str = ""
    shape: str = ""
    dtype: str = ""
    region_type: str = ""
    scope: str = ""


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Looking for garbage among a hundred thousand new objects takes longer than making them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_events(source: str | Path | Any) -> list[AllocationEvent]:
    """The allocation events of all allocators in an XPlane file, in order of time.

    Args:
        source: the `.xplane.pb` file of a recording, see `find_trace`, or what `xplane.load` made
            of it.

    Raises:
        TraceError: the file cannot be read, is no XPlane file, is damaged, or holds no such events.
    """
    if isinstance(source, (str, Path)):
        path, space = source, xplane.load(source)
    else:
        path, space = "The recording", source
    try:
        with garbage_kept():
            events = [event for plane in space.planes for event in _plane_events(plane)]
    except (KeyError, TypeError) as error:
        raise TraceError(
            f"{path} is damaged: a memory event lacks a value, or holds one of another kind "
            f"({error}); record it again."
        ) from error
    if not events:
        raise TraceError(
            f"{path} holds no memory events; record with profiling.record, after profiling.enable, "
            "and run the step inside it."
        )
    events.sort(key=lambda event: event.time_ps)
    return events


def _plane_events(plane: Any) -> Iterator[AllocationEvent]:
    import tensorflow as tf

    kinds = {
        key: _KINDS[metadata.name]
        for key, metadata in plane.event_metadata.items()
        if metadata.name in _KINDS
    }
    if not kinds:
        return
    reader = xplane.StatReader(xplane.stat_names(plane), _STATISTICS)
    dtypes = {0: ""}
    for line in plane.lines:
        scopes = Scopes(plane, line)
        line_start_ps = line.timestamp_ns * 1000
        for event in line.events:
            kind = kinds.get(event.metadata_id)
            if kind is None:
                continue
            stats = reader.read(event.stats)
            data_type = stats.get("data_type", 0)
            if data_type not in dtypes:
                dtypes[data_type] = tf.as_dtype(data_type).name
            time_ps = line_start_ps + event.offset_ps
            yield AllocationEvent(
                time_ps,
                kind,
                stats["allocator_name"],
                stats["addr"],
                stats["allocation_bytes"],
                stats["requested_bytes"],
                stats["bytes_allocated"],
                stats["peak_bytes_in_use"],
                stats.get("tf_op", ""),
                stats.get("shape", ""),
                dtypes[data_type],
                stats.get("region_type", ""),
                scopes.at(event.offset_ps) if kind == "allocation" else "",
            )


def of_allocator(events: Sequence[AllocationEvent], allocator: str | None) -> list[AllocationEvent]:
    """The events of one allocator.

    Args:
        events: of any.
        allocator: its name; may be left out where all events are of one allocator.

    Raises:
        TraceError: no events of that allocator, or of several and none named.
    """
    names = sorted({event.allocator for event in events})
    if allocator is None and len(names) > 1:
        raise TraceError(f"The events are of several allocators; name one of {', '.join(names)}.")
    chosen = [event for event in events if allocator in (None, event.allocator)]
    if not chosen:
        raise TraceError(
            f"No events of allocator {allocator or 'any'}; found are {', '.join(names) or 'none'}."
            " Run the step inside the recording."
        )
    return chosen


def device_allocator(events: Sequence[AllocationEvent], device: str) -> str | None:
    """The name of a device's allocator among those of the events; None if it is not there.

    Args:
        events: of any.
        device: such as "CPU:0" or "GPU:0".
    """
    names = sorted({event.allocator for event in events})
    kind, _, number = device.partition(":")
    if kind == "GPU":
        return next((name for name in names if name == f"GPU_{number}_bfc"), None)
    # A GPU brings a second allocator for host memory, whose name begins with "gpu".
    return next((name for name in names if not name.lower().startswith("gpu")), None)
