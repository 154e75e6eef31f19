"""The list of what is alive at a peak, beside it in a picture, where it hides no curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import AbstractPathEffect, withStroke
from mem_dfa.profiling.render.curves import NANOSECONDS, peak_parts
from mem_dfa.profiling.render.palette import INK, QUIET
from mem_dfa.profiling.timeline.data import TimelineData
from mem_dfa.profiling.words import ATTRIBUTIONS

from mem_dfa.units import MEBIBYTE

# As shares of the panel: the list's top, a line of it, its width, the rim of its box, and what
# stays free beside it.
_TOP, _LINE, _WIDTH, _PAD, _EDGE = 0.9, 0.062, 0.36, 0.02, 0.015
_PLACES = 15  # that are looked at, from left to right
_PARTS = 4  # lines that name the tensors behind a peak
_ROOMS = 7  # wider and wider panels that are looked at


def _lines(run: TimelineData) -> list[str]:
    """What the list beside a peak says."""
    parts = ["alive at the peak:", *peak_parts(run, _PARTS)]
    if run.attribution == "xla":
        parts += ["", *ATTRIBUTIONS["xla"].replace(", ", ",\n").split("\n")]
    return parts


def room_ms(
    runs: Sequence[TimelineData], areas: Sequence[pd.DataFrame], top: float, longest_ms: float
) -> float:
    """How much time panels show so that no list hides a curve, from that of the longest run on."""
    widest = longest_ms / (1 - _WIDTH - _PAD - _EDGE)  # with a list beside the longest
    for shown_ms in np.linspace(longest_ms, widest, _ROOMS):
        pairs = zip(runs, areas, strict=True)
        if not any(_place(run, area, top, shown_ms)[1] for run, area in pairs):
            return float(shown_ms)
    return widest


def _place(
    run: TimelineData, area: pd.DataFrame, top: float, longest_ms: float
) -> tuple[float, float]:
    """Where the list hides least of the curve, then nearest to the peak, and what it hides.

    Returns:
        Its left end as a share of the panel, whose highest MiB and longest time are given, and the
        part of the curve behind it, in MiB times ms.
    """
    times = area.index.to_numpy().clip(0) / NANOSECONDS
    totals = area.to_numpy().sum(axis=1) / MEBIBYTE
    floor = (_TOP - _LINE * len(_lines(run)) - _PAD) * top
    ends = np.append(times[1:], run.duration_ns / NANOSECONDS)
    peak_ms = max(run.peak_time_ns, 0) / NANOSECONDS

    def cost(left: float) -> tuple[float, float]:
        start, end = (left - _PAD) * longest_ms, (left + _WIDTH) * longest_ms
        covered = (np.minimum(ends, end) - np.maximum(times, start)).clip(0)
        hidden = float((covered * (totals - floor).clip(0)).sum())
        return hidden, abs((start + end) / 2 - peak_ms)

    left = min(np.linspace(0.02, 1 - _EDGE - _WIDTH, _PLACES), key=cost)
    return float(left), cost(left)[0]


def mark(axes: Axes, run: TimelineData, area: pd.DataFrame) -> None:
    """A dot at the peak and its parts beside it, where they hide least of the curve."""
    peak = (max(run.peak_time_ns, 0) / NANOSECONDS, run.peak_bytes / MEBIBYTE)
    left, _ = _place(run, area, axes.get_ylim()[1], axes.get_xlim()[1])
    axes.plot(*peak, "o", color=INK, markersize=5, zorder=6, clip_on=False)
    axes.annotate(
        "\n".join(_lines(run)),
        peak,
        xytext=(left, _TOP),
        textcoords="axes fraction",
        ha="left",
        va="top",
        multialignment="left",
        fontsize=8,
        color=INK,
        arrowprops={
            "arrowstyle": "-",
            "color": INK,
            "linewidth": 0.8,
            "path_effects": outline(),
        },
        bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": QUIET, "alpha": 0.93},
        zorder=5,
    )


def outline() -> list[AbstractPathEffect]:
    """What keeps a line visible on a dark area."""
    return [withStroke(linewidth=2, foreground="white")]
