"""What pictures show, in bytes and nanoseconds counted by hand."""

import numpy as np
import pytest
from mem_dfa.profiling import Timeline
from mem_dfa.profiling.render.curves import (
    Band,
    bytes_by_category,
    peak_parts,
    phase_bands,
    reduced,
    reduced_bands,
    share_of,
)
from mem_dfa.profiling.render.tensor_shapes import largest, remainder, stacked
from mem_dfa.profiling.timeline.lifetimes import fill

from tests.profiling.drawn import BACKWARD, FORWARD, OTHER, REPLAY, UPDATE, long, small
from tests.profiling.events import events_of


def test_categories_sum_to_the_running_bytes_at_every_moment() -> None:
    timeline = small()
    series = bytes_by_category(timeline)
    assert series.sum(axis=1).tolist() == timeline.running_bytes().tolist()
    assert series.index.tolist() == [-1, 0, 1000, 2000, 3000, 4000, 5000, 6000, 7000]
    assert series["resident"].tolist() == [512] * 9
    assert series["activation"].tolist() == [0, 256, 1280, 256, 256, 0, 0, 0, 0]
    assert series["gradient"].tolist() == [0, 0, 0, 0, 512, 512, 512, 0, 0]
    assert series["temporary"].tolist() == [0, 0, 0, 0, 0, 0, 256, 256, 0]
    assert series[["parameter", "optimizer state", "feedback", "input"]].to_numpy().sum() == 0


def test_resident_bytes_freed_during_the_step_leave_the_series() -> None:
    events = events_of((9, -256), (1, 256, FORWARD), before_bytes=768)
    series = bytes_by_category(fill(Timeline(), events))
    assert series["resident"].tolist() == [768, 512, 512]
    assert series["activation"].tolist() == [0, 0, 256]


def test_a_reduced_series_keeps_exact_rows_ends_and_peak() -> None:
    series = bytes_by_category(long(20_000))
    few = reduced(series, columns=100)
    assert len(few) <= 400
    assert few.index[0] == -1
    assert few.index[-1] == series.index[-1]
    totals = series.sum(axis=1)
    assert few.sum(axis=1).max() == totals.max()
    assert few.sum(axis=1).idxmax() == totals.idxmax()
    assert few.equals(series.loc[few.index])


def test_a_short_series_is_not_reduced() -> None:
    series = bytes_by_category(small())
    assert reduced(series) is series


def test_bands_join_what_follows_in_one_phase_and_ignore_the_unplaced() -> None:
    ops = [OTHER, FORWARD, OTHER, FORWARD, REPLAY, BACKWARD + "MatMul", UPDATE, OTHER]
    events = events_of(*((number, 256, op) for number, op in enumerate(ops)), (7, -256))
    assert phase_bands(fill(Timeline(), events)) == [
        Band("forward", 1000, 4000),
        Band("replay", 4000, 5000),
        Band("backward", 5000, 6000),
        Band("update", 6000, 8000),
    ]


def test_no_known_phase_no_bands() -> None:
    assert phase_bands(fill(Timeline(), events_of((1, 256, OTHER)))) == []


def test_of_too_many_bands_each_stretch_shows_what_takes_most_of_it() -> None:
    # Every 20 ns: 15 of forward and 5 of update at first, then the other way round.
    bands = []
    for start in range(0, 2000, 20):
        middle = start + (15 if start < 1000 else 5)
        bands += [Band("forward", start, middle), Band("update", middle, start + 20)]
    assert reduced_bands(bands, columns=10) == [
        Band("forward", 0, 1000),
        Band("update", 1000, 2000),
    ]
    assert reduced_bands(bands, columns=100) == bands


def test_the_peaks_parts_are_grouped_by_category_and_size() -> None:
    ops = [FORWARD, FORWARD, BACKWARD + "MatMul"]
    events = events_of(*((number, 2048, op) for number, op in enumerate(ops)), before_bytes=256)
    timeline = fill(Timeline(), events)
    assert peak_parts(timeline, 3) == [
        "2 × activation 2.0 KiB",
        "1 × gradient 2.0 KiB",
        "1 × resident 256 B",
    ]
    assert peak_parts(timeline, 1) == ["2 × activation 2.0 KiB", "2 more, 2.2 KiB in all"]


def test_a_peak_is_a_share_of_the_first_runs() -> None:
    first = small("one")
    assert share_of(first, first) == ""
    assert share_of(small(scale=2), first) == "200 % of one"


def test_what_is_below_falls_away_and_what_is_above_comes_down() -> None:
    events = events_of(
        (1, 256, FORWARD), (2, 512, FORWARD), (1, -256), (3, 256, FORWARD), before_bytes=1024
    )
    timeline = fill(Timeline(), events)
    # The last allocation has no time in which to be drawn.
    before, first, second = stacked(timeline, largest(timeline, 10))
    assert (before.starts_ns, before.bottoms, before.size) == ([0], [0], 1024)
    assert (first.starts_ns, first.bottoms, first.end_ns) == ([0], [1024], 2000)
    assert (second.starts_ns, second.bottoms) == ([1000, 2000], [1280, 1024])
    times, sizes = second.outline()
    assert times.tolist() == [1000, 2000, 2000, 3000, 3000, 2000, 2000, 1000]
    assert sizes.tolist() == [1280, 1280, 1024, 1024, 1536, 1536, 1792, 1792]


@pytest.mark.parametrize("count", [1, 3, 40])
def test_shapes_and_the_rest_sum_to_the_running_bytes(count: int) -> None:
    timeline = long(200)
    rows = largest(timeline, count)
    series = remainder(timeline, rows)
    assert series.sum(axis=1).tolist() == timeline.running_bytes().tolist()
    assert (series.to_numpy() >= 0).all()
    area = sum(
        shape.size * (shape.end_ns - shape.starts_ns[0]) for shape in stacked(timeline, rows)
    )
    assert area == (series["stacked"].to_numpy()[:-1] * np.diff(series.index.to_numpy())).sum()


def test_the_largest_are_chosen() -> None:
    timeline = small()
    assert timeline.tensors.loc[largest(timeline, 2), "allocated_bytes"].tolist() == [512, 1024]
