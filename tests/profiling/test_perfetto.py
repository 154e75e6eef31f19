"""A trace that Perfetto opens: its counters are the timeline's bytes."""

import json
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.profiling import Timeline, TraceError
from mem_dfa.profiling.render.perfetto import trace_events

from tests.profiling.drawn import FORWARD, long, small

KNOWN = {"ph", "name", "pid", "tid", "ts", "dur", "s", "args"}


@pytest.fixture(name="events")
def written_events(tmp_path: Path) -> list[dict[str, Any]]:
    path = small().to_perfetto(tmp_path / "trace.json")
    return json.loads(path.read_bytes())["traceEvents"]


def counter(events: list[dict[str, Any]], name: str) -> list[tuple[float, int]]:
    return [(e["ts"], e["args"]["bytes"]) for e in events if e["ph"] == "C" and e["name"] == name]


def test_the_counter_is_the_running_bytes_in_microseconds(events: list[dict[str, Any]]) -> None:
    # The first operation begins two microseconds before the first event.
    series = small().running_bytes()
    expected = [(time / 1000 + 2, size) for time, size in series.items()]
    assert counter(events, "memory") == expected


def test_each_category_is_counted_where_it_changes(events: list[dict[str, Any]]) -> None:
    assert counter(events, "memory: resident") == [(1.999, 512)]
    assert counter(events, "memory: activation") == [
        (1.999, 0),
        (2, 256),
        (3, 1280),
        (4, 256),
        (6, 0),
    ]
    assert counter(events, "memory: feedback") == []


def test_operations_and_phases_lie_on_threads_of_their_own(events: list[dict[str, Any]]) -> None:
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert names == {1: "phases", 2: "operations 1"}
    slices = [(e["tid"], e["name"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]
    assert slices == [
        (1, "forward", 2, 3),
        (1, "backward", 5, 2),
        (1, "update", 7, 2),
        (2, "step", 0, 9),
        (2, FORWARD, 2, 1),
    ]


def test_the_peak_is_marked_with_its_parts(events: list[dict[str, Any]]) -> None:
    (peak,) = [event for event in events if event["ph"] == "i"]
    assert (peak["name"], peak["ts"], peak["args"]["bytes"]) == ("peak 1.8 KiB", 3, 1792)
    assert peak["args"]["alive"][0] == "1 × activation 1.0 KiB"


def test_every_event_is_of_the_format(events: list[dict[str, Any]]) -> None:
    for event in events:
        assert set(event) <= KNOWN
        assert event["pid"] == 1
        assert event["ph"] == "M" or event["ts"] >= 0


def test_an_inexact_timeline_is_refused(tmp_path: Path) -> None:
    timeline: Timeline = small()
    timeline.fault = "256 bytes apart"
    with pytest.raises(TraceError, match="256 bytes apart"):
        timeline.to_perfetto(tmp_path / "trace.json")
    assert not list(tmp_path.iterdir())


def test_without_operations_time_begins_with_the_resident_bytes() -> None:
    events = json.loads(trace_events(long(4)))["traceEvents"]
    assert counter(events, "memory") == [(0, 0), (0.001, 256), (1.001, 2304)]
