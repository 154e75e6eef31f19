"""Memory against time: what a step takes of both, and which choices nothing else beats."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.pictures import canvas, labels
from mem_dfa.experiments.pictures.canvas import Drawn
from mem_dfa.experiments.pictures.colours import look_of
from mem_dfa.experiments.store import bench_rows, measured, results
from mem_dfa.experiments.store.table import Row
from mem_dfa.profiling.render import plot
from mem_dfa.profiling.render.palette import INK, QUIET

from mem_dfa.units import MEBIBYTE

_SIZE = (9.0, 5.4)  # inches
_FRONT_NOTE = (
    "Filled: the front{}, where nothing measured takes less memory without taking more time."
)


@dataclass(frozen=True)
class Point:
    """One algorithm with its options."""

    algorithm: str
    name: str
    time: float
    memory: float
    """MiB."""
    time_range: tuple[float, float]
    """The ends of its line, of the times that `time` is the median of."""
    net: str
    """Of which it is; what another net takes is no better and no worse."""


def pareto(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """Peak bytes against step time, a point for each algorithm and option."""
    selection = measured.select(results.read(folder), cells)
    notes = canvas.notes_on(selection, spread="lines")
    if not selection.rows:
        return Drawn(None, notes, selection.missing)
    several = len({row["model"] for row in selection.rows}) > 1
    points = [
        Point(
            row["algorithm"],
            Cell.of(row).name + (f" ({row['model']})" if several else ""),
            row["step_time_s"] * 1000,
            row["peak_bytes"] / MEBIBYTE,
            tuple(
                1000 * (row.get(f"step_time_s_{end}") or row["step_time_s"])
                for end in ("min", "max")
            ),
            row["model"],
        )
        for row in selection.rows
    ]
    figure = _figure(title, points, "time of one step (ms)", "peak memory (MiB)")
    front_note = _FRONT_NOTE.format(" of each net" if several else "")
    notes = [front_note, *notes, *_note_on_edges(points)]
    canvas.add_caption(figure, notes)
    return Drawn(figure, notes, selection.missing)


def taking_turns(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """Step bytes against step time as a ratio to bp's in each turn, of `experiments.bench`."""
    rows = bench_rows.newest(folder, cells)
    missing = [] if len(rows) == len(cells) else list(cells)
    good = [row for row in rows if row["status"] == "ok"]
    if not good:
        return Drawn(None, missing=missing)
    points = [_point(row) for row in good]
    failed = [Cell.of(row).name for row in rows if row["status"] != "ok"]
    first = good[0]
    notes = [
        _FRONT_NOTE.format(""),
        f"Medians of {first['rounds']} turns, lines over the middle half of the ratios.",
        f"Measured on {first['device']}, TensorFlow {first['tensorflow']}.",
    ]
    notes += [f"Failed and left out: {'; '.join(failed)}."] if failed else []
    notes += _note_on_edges(points)
    net = f"{first['model']}, {first['layers']} layers, batch {first['batch_size']}"
    figure = _figure(
        f"{title}: {net}", points, "time of one step / bp's in the same turn", "step memory (MiB)"
    )
    canvas.add_caption(figure, notes)
    return Drawn(figure, notes, missing)


def _point(row: Row) -> Point:
    return Point(
        row["algorithm"],
        Cell.of(row).name,
        row["ratio_to_bp"],
        row["step_bytes"] / MEBIBYTE,
        (row["ratio_first_quartile"], row["ratio_third_quartile"]),
        row["model"],
    )


def front(points: Sequence[Point]) -> list[Point]:
    """Those that no other beats in time and memory, the fastest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.time, point.memory)):
        if not best or point.memory < best[-1].memory:
            best.append(point)
    return best


def _figure(title: str, points: Sequence[Point], xlabel: str, ylabel: str) -> Figure:
    with matplotlib.rc_context(plot.STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
        axes.set_xlim(_limits(points))
        axes.set_ylim(0, 1.1 * max(point.memory for point in points))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.set_title(title, loc="left", fontsize=12, color=INK)
        axes.grid(color=QUIET, alpha=0.18, linewidth=0.6)
        for net in dict.fromkeys(point.net for point in points):
            own = [point for point in points if point.net == net]
            best = front(own)
            _draw_front(axes, best)
            for point in own:
                _draw_point(axes, point, point in best)
        names = [
            labels.Label(point.time, point.memory, point.name, look_of(point.algorithm).colour)
            for point in points
        ]
        labels.label_points(axes, names, [point.time_range for point in points])
    return figure


def _note_on_edges(points: Sequence[Point]) -> list[str]:
    least, greatest = _limits(points)
    beyond = any(p.time_range[0] < least or p.time_range[1] > greatest for p in points)
    return ["Lines that reach the edge go on."] if beyond else []


def _limits(points: Sequence[Point]) -> tuple[float, float]:
    """Of time: one slow step of many must not press all points together."""
    times = [point.time for point in points]
    # Names stand beside the points, most of them at the right.
    room = max(0.25 * (max(times) - min(times)), 0.1 * max(times))
    return max(0.0, min(times) - 0.6 * room), max(times) + room


def _draw_front(axes: Axes, best: Sequence[Point]) -> None:
    """The border of what is worse: from each point of the front to the right, then down."""
    times = [point.time for point in best] + [axes.get_xlim()[1]]
    heights = [point.memory for point in best] + [best[-1].memory]
    axes.plot(
        times, heights, drawstyle="steps-post", color=QUIET, alpha=0.5, linewidth=1.2, zorder=1,
        label="front",
    )  # fmt: skip


def _draw_point(axes: Axes, point: Point, is_best: bool) -> None:
    look = look_of(point.algorithm)
    axes.plot(
        point.time_range, (point.memory, point.memory), color=look.colour, alpha=0.45, linewidth=1.0
    )
    axes.plot(
        [point.time],
        [point.memory],
        marker=look.marker,
        markersize=7,
        markeredgecolor=look.colour,
        markerfacecolor=look.colour if is_best else "white",
        linestyle="none",
        label=point.name,
        zorder=3,
    )
