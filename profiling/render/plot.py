"""Pictures of timelines on paper: memory against time, one panel for each run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from mem_dfa.profiling import files
from mem_dfa.profiling.errors import TraceError
from mem_dfa.profiling.render import peak_list
from mem_dfa.profiling.render.curves import (
    COLUMNS,
    NANOSECONDS,
    Band,
    bytes_by_category,
    exact_runs,
    phase_bands,
    reduced,
    reduced_bands,
    share_of,
)
from mem_dfa.profiling.render.palette import CATEGORY_COLOURS, INK, PHASE_COLOURS, QUIET
from mem_dfa.profiling.timeline.data import TimelineData
from mem_dfa.profiling.words import CATEGORIES, PHASES

from mem_dfa.units import MEBIBYTE, show_bytes

STYLE = {
    "font.size": 9,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "text.parse_math": False,  # a title may have any name in it
}
_REFERENCE: dict[str, Any] = {"linewidth": 0.8, "linestyle": (0, (4, 3))}
# Room above the highest peak, and the strip of phases at its top, as shares of the panel.
_HEADROOM, _STRIP = 0.16, 0.04
# A category that never has this share of the greatest peak cannot be seen, nor is it explained.
_VISIBLE = 1 / 1000


def plot(timelines: TimelineData | Sequence[TimelineData], heading: str = "") -> Figure:
    """Memory against time: areas by category, the phases above, the peak and what is behind it.

    Several runs have a panel each, two in a row, on the same axes; a line at the first run's peak
    goes through the others.

    Args:
        timelines: recorded ones, at least one.
        heading: above all panels; what the runs have in common.

    Returns:
        The figure, bound to no display; see `save`.

    Raises:
        TraceError: one of them is not exact.
        ValueError: none is given.
    """
    runs = exact_runs(timelines)
    areas = [reduced(bytes_by_category(run)) for run in runs]
    bands = [reduced_bands(phase_bands(run)) for run in runs]
    rows, columns = -(-len(runs) // 2), min(len(runs), 2)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.8 + 4.4 * columns, 1.2 + 2.6 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[len(runs) :]:
            axes.remove()
        top = max(run.peak_bytes for run in runs) / (1 - _HEADROOM) / MEBIBYTE
        longest_ms = max(run.duration_ns for run in runs) / NANOSECONDS or 1.0
        shown_ms = peak_list.room_ms(runs, areas, top, longest_ms)
        grid[0, 0].set(ylim=(0, top), xlim=(0, shown_ms))
        for number, axes in enumerate(grid.flat[: len(runs)]):
            _panel(axes, runs[number], areas[number], bands[number], runs[0])
            lowest, leftmost = number + columns >= len(runs), number % columns == 0
            axes.tick_params(labelbottom=lowest)
            axes.set(
                xlabel="time (ms)" if lowest else "", ylabel="memory (MiB)" if leftmost else ""
            )
        if heading:
            figure.suptitle(heading, x=0.01, horizontalalignment="left", fontsize=12, color=INK)
        _legends(figure, areas, bands, runs)
    return figure


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure whole or not at all, as its name ends: .png, .pdf, .svg.

    Raises:
        TraceError: the file cannot be written, or its name ends otherwise.
    """
    content, kind = io.BytesIO(), Path(path).suffix[1:]
    if kind not in ("png", "pdf", "svg"):
        raise TraceError(f"Cannot write {path}: let its name end in .png, .pdf or .svg.")
    figure.savefig(content, format=kind, dpi=200)
    return files.write_whole(path, content.getvalue())


def _panel(
    axes: Axes, run: TimelineData, areas: pd.DataFrame, bands: Sequence[Band], first: TimelineData
) -> None:
    # The last step function value lasts to the end of the recording.
    times = areas.index.to_numpy().clip(0) / NANOSECONDS
    # What there is nothing of would still be an outline in the file.
    there = areas.loc[:, areas.any()] if areas.any(axis=None) else areas
    heights = there.to_numpy().T / MEBIBYTE
    colours = [CATEGORY_COLOURS[category] for category in there.columns]
    axes.stackplot(times, heights, colors=colours, step="post", linewidth=0)
    # Where it rises and falls in every column of the picture, the line would hide the areas.
    if len(times) <= 2 * COLUMNS:
        axes.step(times, heights.sum(axis=0), where="post", color=INK, linewidth=0.4)
    top = axes.get_ylim()[1]
    for phase in PHASES:
        chosen = [
            (band.start_ns / NANOSECONDS, (band.end_ns - band.start_ns) / NANOSECONDS)
            for band in bands
            if band.phase == phase
        ]
        strip = (top * (1 - _STRIP), top * _STRIP)
        axes.broken_barh(chosen, strip, facecolors=PHASE_COLOURS[phase], linewidth=0)
    axes.set_title(run.title, loc="left", fontsize=11, fontweight="bold", color=INK)
    share = share_of(run, first)
    peak = f"peak {show_bytes(run.peak_bytes)}" + (f" ({share})" if share else "")
    axes.set_title(peak, loc="right", fontsize=10, fontweight="bold", color=INK)
    if share:
        height = first.peak_bytes / MEBIBYTE
        axes.axhline(height, color=QUIET, path_effects=peak_list.outline(), **_REFERENCE)
    peak_list.mark(axes, run, areas)


def _legends(
    figure: Figure,
    areas: Sequence[pd.DataFrame],
    bands: Sequence[Sequence[Band]],
    runs: Sequence[TimelineData],
) -> None:
    """Phases above, where their strips are, and categories below."""
    least = _VISIBLE * max(run.peak_bytes for run in runs)
    highest = {
        category: max(int(area[category].max()) for area in areas) for category in CATEGORIES
    }
    phases = {band.phase for run in bands for band in run}
    above = [Patch(color=c, label=name) for name, c in PHASE_COLOURS.items() if name in phases]
    below: list[Artist] = [
        Patch(color=c, label=name) for name, c in CATEGORY_COLOURS.items() if highest[name] > least
    ]
    if len(runs) > 1:
        below.append(Line2D([], [], color=QUIET, label=f"peak of {runs[0].title}", **_REFERENCE))
    # A heading stands at the left, above the panels.
    for place, handles in (("upper right", above), ("lower center", below)):
        if handles:
            figure.legend(
                handles=handles,
                loc=f"outside {place}",
                ncols=len(handles),
                frameon=False,
                fontsize=8,
                columnspacing=1.2,
                handlelength=1.4,
            )
