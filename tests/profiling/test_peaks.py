"""Peaks of hand-written events, in bytes counted by hand."""

import dataclasses
from collections.abc import Callable

import pytest

from profiling import AllocationEvent, TraceError, allocated_peak_bytes, requested_peak_bytes

Peak = Callable[..., int]

CPU = "bfc_cpu"
GPU = "GPU_0_bfc"


def events_of(
    *changes: tuple[int, int], before_bytes: int = 0, allocator: str = CPU
) -> list[AllocationEvent]:
    """One event per (address, requested bytes), negative where freed, allocated by 256 bytes."""
    events = []
    running_bytes = before_bytes
    for time_ps, (address, change_bytes) in enumerate(changes):
        requested_bytes = abs(change_bytes)
        allocated_bytes = -(-requested_bytes // 256) * 256
        running_bytes += allocated_bytes if change_bytes > 0 else -allocated_bytes
        events.append(
            AllocationEvent(
                time_ps=time_ps,
                kind="allocation" if change_bytes > 0 else "deallocation",
                allocator=allocator,
                address=address,
                allocated_bytes=allocated_bytes,
                requested_bytes=requested_bytes,
                running_bytes=running_bytes,
                peak_bytes=running_bytes,
            )
        )
    return events


def peaks(events: list[AllocationEvent], allocator: str | None = None) -> tuple[int, int]:
    return requested_peak_bytes(events, allocator), allocated_peak_bytes(events, allocator)


def test_one_after_another_needs_the_larger() -> None:
    assert peaks(events_of((1, 100), (1, -100), (2, 300), (2, -300))) == (300, 512)


def test_never_freed_stays_alive() -> None:
    assert peaks(events_of((1, 100), (2, 300), (2, -300), (3, 10))) == (400, 768)


def test_freed_from_before_the_recording_makes_room() -> None:
    events = events_of((9, -1000), (1, 700), (2, 400), before_bytes=1024)
    assert peaks(events) == (100, 1280)


def test_only_freed_asks_for_nothing_and_peaks_at_the_start() -> None:
    assert peaks(events_of((9, -1000), before_bytes=4096)) == (0, 4096)


def test_reused_address_counts_each_time() -> None:
    events = events_of((1, 100), (1, -100), (1, 50), (2, 60), (1, -50), (1, 200))
    assert peaks(events) == (260, 512)


def test_zero_bytes_change_nothing() -> None:
    nothing = dataclasses.replace(
        events_of((1, 1))[0], allocated_bytes=0, requested_bytes=0, running_bytes=0
    )
    assert peaks([nothing]) == (0, 0)
    assert peaks([nothing, *events_of((1, 100), (1, -100)), nothing]) == (100, 256)


def test_two_allocators_are_kept_apart() -> None:
    cpu = events_of((1, 100), (2, 100), (1, -100))
    gpu = events_of((1, 1000), (1, -1000), (2, 500), allocator=GPU)
    mixed = [event for pair in zip(cpu, gpu, strict=True) for event in pair]
    assert peaks(mixed, CPU) == (200, 512)
    assert peaks(mixed, GPU) == (1000, 1024)
    for peak in (requested_peak_bytes, allocated_peak_bytes):
        with pytest.raises(TraceError, match="several allocators; name one of GPU_0_bfc, bfc_cpu"):
            peak(mixed)


@pytest.mark.parametrize("peak", [requested_peak_bytes, allocated_peak_bytes])
def test_no_events_are_no_zero(peak: Peak) -> None:
    with pytest.raises(TraceError, match="No events of allocator any; found are none"):
        peak([])
    with pytest.raises(TraceError, match="No events of allocator GPU_0_bfc; found are bfc_cpu"):
        peak(events_of((1, 100)), GPU)


@pytest.mark.parametrize("peak", [requested_peak_bytes, allocated_peak_bytes])
def test_lost_and_displaced_events_are_counted(peak: Peak) -> None:
    events = events_of((1, 100), (2, 300), (1, -100), (3, 2000), (2, -300))
    with pytest.raises(TraceError, match="1 of 4 memory events do not continue"):
        peak([*events[:2], *events[3:]])
    with pytest.raises(TraceError, match="3 of 5 memory events do not continue"):
        peak([events[0], events[2], events[1], *events[3:]])
