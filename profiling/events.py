"""Allocation events of a profiler recording: who asked for how many bytes, and when."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

_KINDS: dict[str, Literal["allocation", "deallocation"]] = {
    "MemoryAllocation": "allocation",
    "MemoryDeallocation": "deallocation",
}


class TraceError(ValueError):
    """A recording is missing, damaged, or does not hold what was asked of it."""


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


def read_events(path: str | Path) -> list[AllocationEvent]:
    """The allocation events of all allocators in an XPlane file, in order of time.

    Args:
        path: the `.xplane.pb` file of a recording, see `find_trace`.

    Raises:
        TraceError: the file cannot be read, is no XPlane file, is damaged, or holds no such events.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise TraceError(
            f"Cannot read {path} ({error.strerror}); name an XPlane file (*.xplane.pb)."
        ) from error
    space = xplane_pb2.XSpace()
    try:
        space.ParseFromString(content)
    except DecodeError as error:
        raise TraceError(
            f"{path} is damaged or no XPlane file ({error}); record it again."
        ) from error
    # Unknown fields parse without complaint, so a foreign file may look like an empty one.
    if not space.planes:
        raise TraceError(
            f"{path} ({len(content)} bytes) is empty or no XPlane file; name the *.xplane.pb file "
            "of a recording."
        )
    try:
        events = [event for plane in space.planes for event in _plane_events(plane)]
    except (KeyError, TypeError) as error:
        raise TraceError(
            f"{path} is damaged: a memory event is incomplete ({error}); record it again."
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
    names = {key: metadata.name for key, metadata in plane.stat_metadata.items()}
    for line in plane.lines:
        line_start_ps = line.timestamp_ns * 1000
        for event in line.events:
            kind = kinds.get(event.metadata_id)
            if kind is None:
                continue
            stats = {names[stat.metadata_id]: _value(stat, names) for stat in event.stats}
            data_type = stats.get("data_type", 0)
            yield AllocationEvent(
                time_ps=line_start_ps + event.offset_ps,
                kind=kind,
                allocator=stats["allocator_name"],
                address=stats["addr"],
                allocated_bytes=stats["allocation_bytes"],
                requested_bytes=stats["requested_bytes"],
                running_bytes=stats["bytes_allocated"],
                peak_bytes=stats["peak_bytes_in_use"],
                op=stats.get("tf_op", ""),
                shape=stats.get("shape", ""),
                dtype=tf.as_dtype(data_type).name if data_type else "",
                region_type=stats.get("region_type", ""),
            )


def _value(stat: Any, names: dict[int, str]) -> Any:
    field = stat.WhichOneof("value")
    # Repeated strings are stored once, beside the names of the statistics.
    return names[stat.ref_value] if field == "ref_value" else getattr(stat, field)
