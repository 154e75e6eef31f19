"""The picture of memory against depth: a colour for each algorithm, a line style an execution."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments.catalogue import EXECUTIONS
from experiments.depth_rows import Row
from profiling import plot
from profiling.palette import INK, QUIET

# Okabe and Ito's, without the yellow that is too light for a line.
_COLOURS = ("#0072B2", "#E69F00", "#CC79A7", "#009E73", "#D55E00", "#56B4E9", "#000000")
# Where lines lie on each other, those below still show at the sides.
_WIDTHS = (3.4, 2.6, 2.0, 1.6, 1.2)
_STYLES = dict(zip(EXECUTIONS, ("-", (0, (1, 1.4)), (0, (5, 2))), strict=True))
_MARKERS = dict(zip(EXECUTIONS, ("o", "s", "^"), strict=True))
_LABEL_HEIGHT = 0.034  # of the axes, from one label to the next
_MEBIBYTE = 2**20


def draw(rows: Sequence[Row], path: Path) -> bool:
    """Writes the picture of the rows that were measured; False if there are none."""
    known = [row for row in rows if row["status"] == "ok" and row["step_requested_bytes"]]
    if not known:
        return False
    plot.save(figure(rows, known), path)
    return True


def figure(rows: Sequence[Row], known: Sequence[Row]) -> Figure:
    """Requested step bytes of the known rows against depth, both on logarithmic scales."""
    algorithms = list(dict.fromkeys(row["algorithm"] for row in known))
    with matplotlib.rc_context(plot.STYLE):
        picture = Figure(figsize=(8.4, 5.6), layout="constrained")
        axes = picture.subplots()
        _prepare(axes, known)
        ends = []
        for number, algorithm in enumerate(algorithms):
            colour = _COLOURS[number % len(_COLOURS)]
            for execution in EXECUTIONS:
                line = _series(known, algorithm, execution)
                if line:
                    _plot(axes, line, colour, _WIDTHS[number % len(_WIDTHS)])
                    limited = _limited(rows, line[-1])
                    ends.append((line[-1], f"{algorithm}, {execution}{limited}", colour))
        _label(axes, ends)
        _explain(axes, known)
    return picture


def _series(known: Sequence[Row], algorithm: str, execution: str) -> list[Row]:
    chosen = [r for r in known if (r["algorithm"], r["execution"]) == (algorithm, execution)]
    return sorted(chosen, key=lambda row: row["layers"])


def _limited(rows: Sequence[Row], last: Row) -> str:
    """Why a line ends before others do."""
    deeper = [
        row
        for row in rows
        if (row["algorithm"], row["execution"]) == (last["algorithm"], last["execution"])
        and row["layers"] > last["layers"]
    ]
    if not deeper:
        return ""
    first = min(deeper, key=lambda row: row["layers"])
    return f" ({first['layers']}: {first['status'].replace('_', ' ')})"


def _prepare(axes: Axes, known: Sequence[Row]) -> None:
    depths = sorted({row["layers"] for row in known})
    values = [row["step_requested_bytes"] / _MEBIBYTE for row in known]
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(depths[0] / 1.15, depths[-1] * 1.15),
        ylim=(min(values) / 1.3, max(values) * 1.3),
        xlabel="layers",
        ylabel="memory of one training step (MiB)",
    )
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.grid(axis="y", color=QUIET, alpha=0.18, linewidth=0.6)


def _plot(axes: Axes, line: Sequence[Row], colour: str, width: float) -> None:
    execution = line[0]["execution"]
    axes.plot(
        [row["layers"] for row in line],
        [row["step_requested_bytes"] / _MEBIBYTE for row in line],
        color=colour,
        linestyle=_STYLES[execution],
        marker=_MARKERS[execution],
        markersize=width + 2,
        linewidth=width,
        clip_on=False,
    )


def _label(axes: Axes, ends: Sequence[tuple[Row, str, str]]) -> None:
    """A name beside the end of each line, moved apart where they would overlap."""
    low, high = (math.log(limit) for limit in axes.get_ylim())
    left, right = (math.log(limit) for limit in axes.get_xlim())
    placed = sorted(ends, key=lambda end: end[0]["step_requested_bytes"])
    heights = [
        (math.log(row["step_requested_bytes"] / _MEBIBYTE) - low) / (high - low)
        for row, _, _ in placed
    ]
    for (row, text, colour), height, spread in zip(placed, heights, _apart(heights), strict=True):
        x = (math.log(row["layers"]) - left) / (right - left)
        axes.annotate(
            text,
            (x, height),
            xycoords="axes fraction",
            xytext=(1.04, spread),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            color=colour,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.5,
                "alpha": 0.6,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )


def _apart(heights: Sequence[float]) -> list[float]:
    """Rising heights, each at least a label above the one before, and in all not higher."""
    spread: list[float] = []
    for height in heights:
        spread.append(max(height, spread[-1] + _LABEL_HEIGHT if spread else 0.0))
    shift = max(0.0, spread[-1] - max(1.0, heights[-1]))
    ceiling = math.inf
    for number in range(len(spread) - 1, -1, -1):
        spread[number] = min(spread[number], ceiling, spread[-1] - shift)
        ceiling = spread[number] - _LABEL_HEIGHT
        shift = 0.0
    return spread


def _explain(axes: Axes, known: Sequence[Row]) -> None:
    net = f"{known[0]['model']}, batch {known[0]['batch_size']}"
    title = f"{net}: what the operations of a step ask for"
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    handles = [
        Line2D([], [], color=QUIET, linestyle=_STYLES[name], marker=_MARKERS[name], markersize=3.5,
               label=name)
        for name in EXECUTIONS
        if any(row["execution"] == name for row in known)
    ]  # fmt: skip
    axes.legend(handles=handles, loc="upper left", frameon=False, fontsize=8, handlelength=3)
