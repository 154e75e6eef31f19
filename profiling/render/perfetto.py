"""Timelines for Perfetto, in the JSON format of Chrome's traces.

Times are microseconds from the earliest of the operations and events.
"""

from __future__ import annotations

import json
from typing import Any

from mem_dfa.profiling.render.curves import bytes_by_category, peak_parts, phase_bands
from mem_dfa.profiling.timeline.data import TimelineData
from mem_dfa.profiling.words import ATTRIBUTIONS

from mem_dfa.units import show_bytes

_PROCESS = 1
_PHASES = 1  # their thread; those of the operations follow
_PARTS = 20


def trace_events(timeline: TimelineData) -> str:
    """The trace: counters of bytes, in all and by category, the phases, operations and the peak.

    Args:
        timeline: a recorded one.

    Raises:
        TraceError: it is not exact.
    """
    timeline.require_exact()
    operations = timeline.operations
    # Perfetto takes no time before zero; an operation may have begun before the first event.
    earliest_ns = min([-1, *operations["start_ns"].tolist()])
    events = [*_names(timeline), *_counters(timeline, earliest_ns)]
    for band in phase_bands(timeline):
        events.append(_slice(band.phase, _PHASES, band.start_ns, band.end_ns, earliest_ns))
    numbers = _thread_numbers(timeline)
    for row in operations.itertuples(index=False):
        events.append(_slice(row.name, numbers[row.thread], row.start_ns, row.end_ns, earliest_ns))
    events.append(
        {
            "ph": "i",
            "s": "p",
            "name": f"peak {show_bytes(timeline.peak_bytes)}",
            "pid": _PROCESS,
            "tid": _PHASES,
            "ts": (timeline.peak_time_ns - earliest_ns) / 1000,
            "args": {
                "bytes": timeline.peak_bytes,
                "alive": peak_parts(timeline, _PARTS),
                "attribution": ATTRIBUTIONS[timeline.attribution],
            },
        }
    )
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": events})


def _thread_numbers(timeline: TimelineData) -> dict[int, int]:
    """Small ones: the recorded identifiers do not fit JSON's numbers."""
    threads = timeline.operations["thread"].unique().tolist()
    return {thread: number for number, thread in enumerate(threads, start=_PHASES + 1)}


def _names(timeline: TimelineData) -> list[dict[str, Any]]:
    threads = {_PHASES: "phases"} | {
        number: f"operations {number - _PHASES}" for number in _thread_numbers(timeline).values()
    }
    process = f"{timeline.title} on {timeline.device}"
    names = [("process_name", _PROCESS, process)]
    names += [("thread_name", number, name) for number, name in threads.items()]
    return [
        {"ph": "M", "name": kind, "pid": _PROCESS, "tid": thread, "args": {"name": name}}
        for kind, thread, name in names
    ]


def _counters(timeline: TimelineData, earliest_ns: int) -> list[dict[str, Any]]:
    """The running bytes after each event, and of each category wherever it changes."""
    counted = [("memory", timeline.running_bytes())]
    for category, series in bytes_by_category(timeline).items():
        if series.any():
            counted.append((f"memory: {category}", series[series.diff() != 0]))
    return [
        {
            "ph": "C",
            "name": name,
            "pid": _PROCESS,
            "ts": (time_ns - earliest_ns) / 1000,
            "args": {"bytes": size},
        }
        for name, series in counted
        for time_ns, size in zip(series.index.tolist(), series.tolist(), strict=True)
    ]


def _slice(name: str, thread: int, start_ns: int, end_ns: int, earliest_ns: int) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": name,
        "pid": _PROCESS,
        "tid": thread,
        "ts": (start_ns - earliest_ns) / 1000,
        "dur": (end_ns - start_ns) / 1000,
    }
