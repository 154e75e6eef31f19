"""What the pytest plugin measures a test with, and what it says about one that took too much."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mem_dfa.units import show_bytes

if TYPE_CHECKING:
    from mem_dfa.profiling.facade import Timeline


class DeviceMemory:
    """The fixture `device_memory`: the allocator's numbers and timelines inside a test.

    Attributes:
        device: such as "CPU:0".
        resident_bytes: alive when the test's body began.
        timeline: the last one recorded; None before the first.
    """

    def __init__(self, device: str | None = None) -> None:
        """Prove the meter of a device; the first GPU, if there is one, unless said otherwise.

        Raises:
            MeterError: the allocator's statistics are missing or do not tell the truth.
        """
        from mem_dfa.profiling.allocator import Allocator
        from mem_dfa.profiling.tracing import default_device

        self._allocator = Allocator(device or default_device())
        self.device = self._allocator.device
        self.timeline: Timeline | None = None
        # Whose peak is the greatest: it explains the test's.
        self.greatest_timeline: Timeline | None = None
        self.begin()

    def begin(self) -> None:
        """Start again: what is alive now is resident. The plugin does so before a test's body."""
        self._allocator.reset_peak()
        self.resident_bytes = self._peak_bytes = self.current_bytes()

    def current_bytes(self) -> int:
        """Bytes alive now."""
        return self._allocator.current_bytes()

    def peak_bytes(self) -> int:
        """Greatest number of bytes alive at one time since the test's body began."""
        self._peak_bytes = max(self._peak_bytes, self._allocator.peak_bytes())
        return self._peak_bytes

    @contextmanager
    def trace(
        self, model: Any = None, *, optimizer: Any = None, title: str = "step"
    ) -> Iterator[Timeline]:
        """Record what happens in the context, see `profiling.trace`; the test's peak is kept.

        Raises:
            TraceError: nothing was allocated in it, or another recording is running.
        """
        from mem_dfa.profiling.tracing import trace

        self.peak_bytes()  # a recording resets the allocator's
        recording = trace(model, optimizer=optimizer, title=title, allocator=self._allocator)
        with recording as timeline:
            yield timeline
            self.peak_bytes()
        self.timeline = timeline
        greatest = self.greatest_timeline
        if greatest is None or timeline.peak_bytes > greatest.peak_bytes:
            self.greatest_timeline = timeline


def report(memory: DeviceMemory, limit_bytes: int, taken_bytes: int, *, whole_body: bool) -> str:
    """What a test took, its limit, and the largest tensors at its peak.

    Args:
        memory: what measured it.
        limit_bytes: what it was allowed.
        taken_bytes: its peak above what was alive before.
        whole_body: the timeline is of the whole body, not of a step that the test recorded.
    """
    sizes = {
        "limit": limit_bytes,
        "taken": taken_bytes,
        "too much": taken_bytes - limit_bytes,
        "alive before": memory.resident_bytes,
        "peak": memory.resident_bytes + taken_bytes,
    }
    lines = [
        f"The test took more memory of {memory.device} than its limit of "
        f"{show_bytes(limit_bytes)}: {show_bytes(taken_bytes)}."
    ]
    for name, size in sizes.items():
        lines.append(f"{name:>14} {size:>16} bytes {show_bytes(size):>12}")
    if memory.greatest_timeline is None:
        lines.append(
            "Its tensors were not recorded: run the step within "
            "'with device_memory.trace(model):' to see them here."
        )
    else:
        lines.append(_tensors(memory.greatest_timeline, whole_body))
    return "\n".join(lines)


def _tensors(timeline: Timeline, whole_body: bool) -> str:
    from mem_dfa.profiling.render.terminal import tensors_text

    live = timeline.live_at_peak()
    if whole_body:
        # What was alive before is not in what the test took.
        live = live[live["start_ns"] >= 0]
        title = f"The largest of the {len(live)} tensors that it held at its peak:"
    else:
        title = (
            f"The largest of the {len(live)} tensors alive at the peak of the recorded "
            f"{timeline.title}, {show_bytes(timeline.peak_bytes)}:"
        )
    lines = [tensors_text(title, timeline, live)]
    if timeline.fault:
        lines.append(f"This list is not exact: {timeline.fault}")
    return "\n".join(lines)
