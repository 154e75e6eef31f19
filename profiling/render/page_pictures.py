"""The pictures of the page: the phases of a timeline, its areas, its tensors as shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, LayoutDOM, Range1d
from bokeh.plotting import figure
from bokeh.transform import stack
from mem_dfa.profiling.render.curves import (
    NANOSECONDS,
    bytes_by_category,
    phase_bands,
    reduced,
    reduced_bands,
)
from mem_dfa.profiling.render.page_tooltips import tooltip
from mem_dfa.profiling.render.palette import CATEGORY_COLOURS, INK, PHASE_COLOURS, QUIET
from mem_dfa.profiling.render.tensor_shapes import largest, remainder, stacked
from mem_dfa.profiling.timeline.data import TimelineData
from mem_dfa.profiling.words import CATEGORIES

from mem_dfa.units import MEBIBYTE, show_bytes

# Tensors that have a shape of their own; more make the page slow, and can hardly be told apart.
SHAPES = 400
# The name of what the page's search marks tensors in.
TENSORS = "tensors"
_PLACE = ["op", "layer", "block", "phase", "category", "shape", "dtype"]
_FRAME = {
    "sizing_mode": "stretch_width",
    "min_border_left": 64,
    "min_border_right": 12,
}
_TOOLS = {"tools": "wheel_zoom,pan,box_zoom,reset", "active_scroll": "wheel_zoom"}


def common_axes(timelines: Sequence[TimelineData]) -> tuple[Range1d, Range1d]:
    """Times and memory that hold every one of the timelines: zooming one zooms all."""
    longest = max(timeline.duration_ns for timeline in timelines) / NANOSECONDS
    top = 1.15 * max(timeline.peak_bytes for timeline in timelines) / MEBIBYTE
    return Range1d(0, longest or 1), Range1d(0, top or 1)


def areas(timeline: TimelineData, axes: tuple[Range1d, Range1d]) -> LayoutDOM:
    """The phases, and memory by category below them."""
    pictures = _phases(timeline, axes[0]), _areas(timeline, axes)
    return column(*pictures, sizing_mode="stretch_width")


def _phases(timeline: TimelineData, times: Range1d) -> figure:
    plot = figure(
        height=26, x_range=times, y_range=(0, 1), tools="", toolbar_location=None, **_FRAME
    )
    plot.axis.visible = plot.grid.visible = False
    plot.outline_line_color = None
    plot.min_border_top = plot.min_border_bottom = 2
    bands = reduced_bands(phase_bands(timeline))
    source = ColumnDataSource(
        {
            "phase": [band.phase for band in bands],
            "colour": [PHASE_COLOURS[band.phase] for band in bands],
            "start": [band.start_ns / NANOSECONDS for band in bands],
            "end": [band.end_ns / NANOSECONDS for band in bands],
        }
    )
    plot.quad(
        left="start", right="end", bottom=0, top=1, color="colour", line_width=0, source=source
    )
    texts = {"phase": "@phase", "from": "@start{0.000} ms", "to": "@end{0.000} ms"}
    plot.add_tools(tooltip(texts, plot.renderers))
    return plot


def _areas(timeline: TimelineData, axes: tuple[Range1d, Range1d]) -> figure:
    plot = _figure(230, axes)
    series = reduced(bytes_by_category(timeline)) / MEBIBYTE
    # What a run never has needs no place in the file.
    shown = [category for category in CATEGORIES if series[category].any()]
    columns = {name: series[name].to_numpy(np.float32) for name in shown}
    columns |= {"time": _milliseconds(series.index), "all": series.sum(axis=1).to_numpy(np.float32)}
    source = ColumnDataSource(columns)
    for number, category in enumerate(shown):
        plot.varea_step(
            "time",
            stack(*shown[:number]),
            stack(*shown[: number + 1]),
            step_mode="after",
            color=CATEGORY_COLOURS[category],
            source=source,
            name=category,
        )
    texts = {
        "category": "$name",
        "alive of it": "@$name{0.00} MiB",
        "of all": "@all{0.00} MiB",
        "from": "@time{0.000} ms",
    }
    # The dot of the peak has no rows to tell of.
    plot.add_tools(tooltip(texts, plot.renderers))
    peak = max(timeline.peak_time_ns, 0) / NANOSECONDS, timeline.peak_bytes / MEBIBYTE
    is_late = peak[0] > axes[0].end / 2
    plot.scatter(*[[value] for value in peak], size=8, color=INK)
    plot.text(
        *[[value] for value in peak],
        text=[f"peak {show_bytes(timeline.peak_bytes)}"],
        text_color=INK,
        text_font_size="13px",
        text_align="right" if is_late else "left",
        text_baseline="bottom",
        x_offset=-6 if is_late else 6,
        y_offset=-3,
    )
    return plot


def shapes(timeline: TimelineData, axes: tuple[Range1d, Range1d]) -> LayoutDOM:
    """Every tensor while it is alive, as high as it is large."""
    plot = _figure(420, axes)
    rows = largest(timeline, SHAPES)
    stacks = stacked(timeline, rows)
    outlines = [shape.outline() for shape in stacks]
    tensors = timeline.tensors.loc[[shape.tensor for shape in stacks]]
    columns: dict[str, list[Any]] = {name: tensors[name].tolist() for name in _PLACE}
    columns["colour"] = [CATEGORY_COLOURS[name] for name in tensors["category"]]
    # Rounded to 0.1 µs and to less than an allocation, for the file's sake.
    columns["times"] = [(times / NANOSECONDS).round(4).tolist() for times, _ in outlines]
    columns["sizes"] = [(sizes / MEBIBYTE).round(5).tolist() for _, sizes in outlines]
    for name in ("allocated", "requested"):
        sizes = tensors[f"{name}_bytes"].tolist()
        columns[name] = [f"{show_bytes(size)} ({size:,} B)" for size in sizes]
    columns["lifetime"] = _lifetimes(tensors, timeline.duration_ns)
    drawn = plot.patches(
        "times",
        "sizes",
        fill_color="colour",
        line_color="white",
        line_width=0.25,
        hover_line_color=INK,
        hover_line_width=2,
        hover_fill_color="colour",
        nonselection_fill_color="colour",
        nonselection_fill_alpha=0.15,
        source=ColumnDataSource(columns, name=TENSORS),
    )
    texts = {name: f"@{name}" for name in [*_PLACE, "allocated", "requested", "lifetime"]}
    plot.add_tools(tooltip(texts, [drawn], point_policy="follow_mouse"))
    if len(rows) < (timeline.tensors["allocated_bytes"] > 0).sum():
        _draw_smaller(plot, reduced(remainder(timeline, rows)))
    return plot


def _figure(height: int, axes: tuple[Range1d, Range1d]) -> figure:
    """Memory against time, to be zoomed and moved."""
    plot = figure(height=height, x_range=axes[0], y_range=axes[1], **_TOOLS, **_FRAME)
    plot.xaxis.axis_label, plot.yaxis.axis_label = "time (ms)", "memory (MiB)"
    plot.axis.major_label_text_font_size = "12px"
    plot.toolbar_location, plot.toolbar.logo = "below", None
    return plot


def _draw_smaller(plot: figure, series: pd.DataFrame) -> None:
    """What has no shape of its own, together, on top of what has."""
    bottoms = (series["stacked"] / MEBIBYTE).to_numpy(np.float32)
    tops = (series.sum(axis=1) / MEBIBYTE).to_numpy(np.float32)
    plot.varea_step(
        _milliseconds(series.index),
        bottoms,
        tops,
        step_mode="after",
        color=QUIET,
        alpha=0.4,
    )


def _milliseconds(times_ns: pd.Index) -> np.ndarray:
    return times_ns.to_numpy().clip(0) / NANOSECONDS


def _lifetimes(tensors: pd.DataFrame, duration_ns: int) -> list[str]:
    """From when to when, in words where the recording did not see it."""
    return [
        ("before" if start < 0 else f"{start / NANOSECONDS:.3f} ms")
        + " – "
        + ("after" if end > duration_ns else f"{end / NANOSECONDS:.3f} ms")
        for start, end in zip(tensors["start_ns"], tensors["end_ns"], strict=True)
    ]
