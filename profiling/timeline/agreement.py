"""Whether the parts of a timeline agree: its running bytes, its events and tensors, its peaks."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
from mem_dfa.profiling.timeline.data import TimelineData
from mem_dfa.profiling.timeline.schema import DamageError
from numpy.typing import ArrayLike

_SIZES = ("allocated_bytes", "requested_bytes")
_PLACE = ("address", "op", "shape", "dtype", "layer", "block", "phase", "category")


def fault(timeline: TimelineData) -> str:
    """What makes the curve inexact, by how many bytes; "" for nothing."""
    jumps = _jumps(timeline)
    if jumps.any():
        return (
            f"the allocator's running total jumps {np.count_nonzero(jumps)} times, by "
            f"{np.abs(jumps).sum()} bytes in all, where events are missing; record again, or a "
            "shorter piece."
        )
    overwritten_bytes = timeline.tensors.loc[_overwritten(timeline), "allocated_bytes"].sum()
    if overwritten_bytes:
        return (
            f"{overwritten_bytes} bytes were handed out again without having been freed; "
            "record again."
        )
    peak, allocator_peak = _reconstructed_peak(timeline), timeline.allocator_peak_bytes
    if allocator_peak is not None and peak != allocator_peak:
        return (
            f"its peak is {peak} bytes and the allocator's own {allocator_peak}, "
            f"{abs(allocator_peak - peak)} bytes apart; let nothing else use the device while you "
            "record."
        )
    return ""


def check(timeline: TimelineData) -> None:
    """See that a timeline's tables say the same, and are exact where it says that they are.

    Args:
        timeline: one whose fields `schema.check` has seen.

    Raises:
        DamageError: which field, what it holds, and what it contradicts.
    """
    # One after another: each relies on what those before have seen.
    for contradictions in (_of_times, _of_rows, _of_lifetimes, _of_sizes):
        for contradiction in contradictions(timeline):
            raise DamageError(contradiction)


def _is_allocation(timeline: TimelineData) -> np.ndarray:
    return (timeline.events["kind"] == "allocation").to_numpy()


def _reconstructed_peak(timeline: TimelineData) -> int:
    return int(timeline.running_bytes().max())


def _jumps(timeline: TimelineData) -> np.ndarray:
    """How far each event's running bytes are from those before it and its own bytes."""
    events = timeline.events
    sizes, running = events["allocated_bytes"].to_numpy(), events["running_bytes"].to_numpy()
    before = timeline.running_bytes().to_numpy()[:-1]
    return running - before - np.where(_is_allocation(timeline), sizes, -sizes)


def _overwritten(timeline: TimelineData) -> np.ndarray:
    """Which tensors ended while recording though no event frees them."""
    freed = timeline.events["tensor"].to_numpy()[~_is_allocation(timeline)]
    ended = timeline.tensors["end_ns"].to_numpy() <= timeline.duration_ns
    return ended & ~np.isin(np.arange(len(ended)), freed)


def _at(wrong: ArrayLike, values: pd.Series, table: str, words: str) -> Iterator[str]:
    """The first value of a column that is wrong."""
    for row in np.flatnonzero(wrong)[:1].tolist():
        yield f"{table}.{values.name}[{row}] is {values.tolist()[row]}; {words}"


def _beside(events: pd.Series, tensors: pd.Series, where: str = "") -> Iterator[str]:
    """The first event that differs from the row of `tensors` that it names.

    Args:
        events: a column of `Timeline.events`, or some of its rows.
        tensors: what the tensors' column has for each of them, by its own rows.
        where: they must be equal.
    """
    for row in np.flatnonzero(events.to_numpy() != tensors.to_numpy())[:1].tolist():
        yield (
            f"events.{events.name}[{events.index[row]}] is {reprlib.repr(events.tolist()[row])}, "
            f"its events.tensor's tensors.{tensors.name}[{tensors.index[row]}] is "
            f"{reprlib.repr(tensors.tolist()[row])}; allowed is the same in both{where}"
        )


def _of_times(timeline: TimelineData) -> Iterator[str]:
    times, operations = timeline.events["time_ns"], timeline.operations
    first, last = int(times.iloc[0]), int(times.iloc[-1])
    if first:
        yield f"events.time_ns[0] is {first}; allowed is 0"
    late = "allowed is more than the one before"
    yield from _at(np.diff(times, prepend=-1) < 1, times, "events", late)
    if last != timeline.duration_ns:
        yield f"duration_ns is {timeline.duration_ns}; the last of events.time_ns is {last}"
    ends, words = operations["end_ns"], "allowed is operations.start_ns or more"
    yield from _at(ends < operations["start_ns"], ends, "operations", words)


def _of_rows(timeline: TimelineData) -> Iterator[str]:
    rows, count = timeline.events["tensor"], len(timeline.tensors)
    yield from _at(rows >= count, rows, "events", f"allowed is a row of tensors, which has {count}")


def _of_lifetimes(timeline: TimelineData) -> Iterator[str]:
    events, tensors, made = timeline.events, timeline.tensors, _is_allocation(timeline)
    rows = tensors.iloc[events["tensor"]]
    for column in _PLACE:
        yield from _beside(events[column], rows[column])
    for column in _SIZES:
        yield from _beside(events[column][made], rows[column][made])
    for kind, of_kind, column in (
        ("allocation", made, "start_ns"),
        ("deallocation", ~made, "end_ns"),
    ):
        words = f", where events.kind is {kind!r}"
        yield from _beside(events["time_ns"][of_kind], rows[column][of_kind], words)
    starts, ends = tensors["start_ns"], tensors["end_ns"]
    begun = np.isin(np.arange(len(tensors)), events["tensor"][made])
    words = "allowed is the time of an event that allocates it, or -1"
    yield from _at((starts >= 0) & ~begun, starts, "tensors", words)
    after = timeline.duration_ns + 1
    words = f"allowed is a time after tensors.start_ns, up to {after}"
    yield from _at((ends <= starts) | (ends > after), ends, "tensors", words)
    resident_bytes = int(tensors["allocated_bytes"][starts < 0].sum())
    if resident_bytes != timeline.resident_bytes:
        yield (
            f"resident_bytes is {timeline.resident_bytes}; tensors.allocated_bytes of those with "
            f"tensors.start_ns -1 are {resident_bytes} in all"
        )


def _of_sizes(timeline: TimelineData) -> Iterator[str]:
    """What is not exact though the timeline says so."""
    if timeline.fault:
        return
    events, tensors = timeline.events, timeline.tensors
    rows = tensors.iloc[events["tensor"]]
    for column in _SIZES:
        yield from _beside(events[column], rows[column])
        yield from _at(tensors[column] < 0, tensors[column], "tensors", "allowed is 0 or more")
    words = "allowed is the one before, changed by this event's allocated_bytes"
    yield from _at(_jumps(timeline) != 0, events["running_bytes"], "events", words)
    overwritten = _overwritten(timeline) & (tensors["allocated_bytes"] > 0)
    words = "allowed is the time of an event that frees it, or one after all"
    yield from _at(overwritten, tensors["end_ns"], "tensors", words)
    if fault(timeline):
        yield (
            f"allocator_peak_bytes is {timeline.allocator_peak_bytes}; the greatest of "
            f"resident_bytes and events.running_bytes is {_reconstructed_peak(timeline)}"
        )
