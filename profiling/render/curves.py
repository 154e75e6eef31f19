"""What every picture of a timeline shows, computed once: areas, phase bands, the peak's parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from mem_dfa.profiling.timeline.data import TimelineData
from mem_dfa.profiling.words import CATEGORIES, PHASES

from mem_dfa.units import show_bytes

# What a picture shows side by side, with a few moments each. A browser draws areas of more too
# slowly to be zoomed, and a vector file of more takes megabytes.
COLUMNS = 400
NANOSECONDS = 1_000_000  # in a millisecond


def exact_runs(timelines: TimelineData | Sequence[TimelineData]) -> list[TimelineData]:
    """The timelines that a picture shows, one or several.

    Raises:
        TraceError: one of them is not exact.
        ValueError: none is given.
    """
    runs = [timelines] if isinstance(timelines, TimelineData) else list(timelines)
    if not runs:
        raise ValueError("Received no timeline to show; give at least one.")
    for run in runs:
        run.require_exact()
    return runs


def bytes_by_category(timeline: TimelineData) -> pd.DataFrame:
    """Bytes alive of each category: a step function whose columns sum to the running bytes.

    Returns:
        Index time_ns, one row before the first event (-1) and one after each; columns
        `CATEGORIES`, in that order.
    """
    events, tensors = timeline.events, timeline.tensors
    resident = tensors[tensors["start_ns"] < 0].groupby("category")["allocated_bytes"].sum()
    changes = np.zeros((len(events) + 1, len(CATEGORIES)), dtype=np.int64)
    changes[0] = resident.reindex(CATEGORIES, fill_value=0)
    signs = np.where(events["kind"] == "allocation", 1, -1)
    columns = pd.Index(CATEGORIES).get_indexer(events["category"])
    changes[np.arange(1, len(changes)), columns] = signs * events["allocated_bytes"].to_numpy()
    times = np.concatenate([[-1], events["time_ns"].to_numpy()])
    index = pd.Index(times, name="time_ns")
    return pd.DataFrame(changes.cumsum(axis=0), index=index, columns=list(CATEGORIES))


def reduced(series: pd.DataFrame, columns: int = COLUMNS) -> pd.DataFrame:
    """The rows of a series that can be seen, each of them exact.

    Of the rows in each of `columns` equal stretches of time stay the first, the last, and those
    where the sum is greatest and smallest; so the first row, the last and the peak always stay.
    """
    if len(series) <= 4 * columns:
        return series
    times, totals = series.index.to_numpy(), series.to_numpy().sum(axis=1)
    stretch = (times - times[0]) * columns // (times[-1] - times[0] + 1)
    starts = np.flatnonzero(np.diff(stretch, prepend=-1))
    # Stable, so of equal totals the first comes first, as the peak is the first of its height.
    falling, rising = np.lexsort((-totals, stretch)), np.lexsort((totals, stretch))
    ends = np.append(starts[1:], len(times)) - 1
    return series.iloc[np.unique(np.concatenate([starts, ends, falling[starts], rising[starts]]))]


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time in which one phase allocates."""

    phase: str
    start_ns: int
    end_ns: int


def phase_bands(timeline: TimelineData) -> list[Band]:
    """The phases in order of time: each from its first allocation to the next phase's first.

    Allocations of no known phase do not interrupt one. The last band ends with the recording.
    """
    events = timeline.events
    chosen = events[(events["kind"] == "allocation") & events["phase"].isin(PHASES)]
    phases = chosen["phase"].to_numpy(dtype=object)
    begins = np.append(True, phases[1:] != phases[:-1])[: len(phases)].astype(bool)
    starts = chosen["time_ns"].to_numpy()[begins].tolist()
    ends = [*starts[1:], timeline.duration_ns]
    return [Band(*band) for band in zip(phases[begins], starts, ends, strict=bool(starts))]


def reduced_bands(bands: Sequence[Band], columns: int = COLUMNS) -> list[Band]:
    """At most `2 * columns` bands: where there are more, equal stretches of time.

    Each stretch has the phase that takes most of it, and joins the one before if that is the same.
    """
    if len(bands) <= 2 * columns:
        return list(bands)
    edges = np.array([band.start_ns for band in bands] + [bands[-1].end_ns])
    marks = np.linspace(edges[0], edges[-1], 2 * columns + 1).astype(np.int64)
    shares = []
    for phase in PHASES:
        lengths = np.diff(edges) * [band.phase == phase for band in bands]
        # Time spent in this phase up to each edge, so up to each mark.
        spent = np.concatenate([[0], lengths.cumsum()])
        shares.append(np.diff(np.interp(marks, edges, spent)))
    most = np.argmax(shares, axis=0)
    begins = np.flatnonzero(np.diff(most, prepend=-1))
    ends = [*marks[begins[1:]].tolist(), int(marks[-1])]
    starts = marks[begins].tolist()
    return [
        Band(PHASES[phase], *times)
        for phase, *times in zip(most[begins], starts, ends, strict=True)
    ]


def peak_parts(timeline: TimelineData, limit: int) -> list[str]:
    """The tensors alive at the peak in words, greatest sum first: "20 × activation 8.0 MiB".

    Args:
        timeline: a recorded one.
        limit: how many lines name tensors of one category and size; one more has the rest.
    """
    live = timeline.live_at_peak()
    groups = live.groupby(["category", "allocated_bytes"], sort=False).size().reset_index(name="n")
    groups["sum"] = groups["n"] * groups["allocated_bytes"]
    groups = groups.sort_values("sum", ascending=False, kind="stable")
    shown, rest = groups[:limit], groups[limit:]
    lines = [
        f"{row.n} × {row.category} {show_bytes(row.allocated_bytes)}"
        for row in shown.itertuples(index=False)
    ]
    if len(rest):
        lines.append(f"{rest['n'].sum()} more, {show_bytes(int(rest['sum'].sum()))} in all")
    return lines


def share_of(timeline: TimelineData, first: TimelineData) -> str:
    """How a peak compares with the first run's: "22 % of bp"; "" for the first run itself.

    And where that has no peak to compare with.
    """
    if timeline is first or not first.peak_bytes:
        return ""
    return f"{timeline.peak_bytes / first.peak_bytes:.0%}".replace("%", " %") + f" of {first.title}"
