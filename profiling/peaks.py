"""Peaks of a recording, exact to the byte."""

import itertools
from collections.abc import Sequence

from profiling.events import AllocationEvent
from profiling.xplane import TraceError


def allocated_peak_bytes(events: Sequence[AllocationEvent], allocator: str | None = None) -> int:
    """Greatest number of bytes that the allocator had handed out at one time in the recording.

    What was alive before counts. Equal to the allocator's own peak if that was reset when the
    recording began.

    Args:
        events: in order of time, see `read_events`.
        allocator: which one's; may be left out where all events are of one allocator.

    Raises:
        TraceError: no events of that allocator, or they do not fit together.
    """
    chosen = _continuous(events, allocator)
    return max(_bytes_before(chosen[0]), *(event.running_bytes for event in chosen))


def requested_peak_bytes(events: Sequence[AllocationEvent], allocator: str | None = None) -> int:
    """Greatest number of bytes that operations asked for at one time, without any rounding.

    It counts above what was alive when the recording began: freeing a tensor of that time makes
    room, and the result is 0 where nothing ever exceeds it. Exact for the recorded run; operations
    that TensorFlow may run in either order can make another run of the same step differ a little.

    Args:
        events: in order of time, see `read_events`.
        allocator: which one's; may be left out where all events are of one allocator.

    Raises:
        TraceError: no events of that allocator, or they do not fit together.
    """
    alive_bytes = peak_bytes = 0
    for event in _continuous(events, allocator):
        alive_bytes += _sign(event) * event.requested_bytes
        peak_bytes = max(peak_bytes, alive_bytes)
    return peak_bytes


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


def _continuous(events: Sequence[AllocationEvent], allocator: str | None) -> list[AllocationEvent]:
    chosen = of_allocator(events, allocator)
    # Each event states the total after it, so a lost or displaced event cannot pass unseen.
    breaks = sum(
        _bytes_before(event) != previous.running_bytes
        for previous, event in itertools.pairwise(chosen)
    )
    if breaks:
        raise TraceError(
            f"{breaks} of {len(chosen)} memory events do not continue the allocator's running "
            "total: events are missing or out of order, so no exact peak exists; record again."
        )
    return chosen


def _sign(event: AllocationEvent) -> int:
    return 1 if event.kind == "allocation" else -1


def _bytes_before(event: AllocationEvent) -> int:
    return event.running_bytes - _sign(event) * event.allocated_bytes
