"""Memory against time: what a step takes of both, and which choices nothing else beats."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.pictures import canvas, labels
from mem_dfa.experiments.pictures.canvas import Drawn, look_of
from mem_dfa.experiments.store import results
from mem_dfa.profiling.render.palette import QUIET

from mem_dfa.units import MEBIBYTE


@dataclass(frozen=True)
class Point:
    """One algorithm with its options: MiB against the median of times, the ends of its line."""

    algorithm: str
    name: str
    net: str
    time: float
    memory: float
    time_range: tuple[float, float]


def pareto(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """Peak bytes against step time, a point for each algorithm and option."""
    selection = results.select(results.read(folder), cells)
    several = len({row["model"] for row in selection.rows}) > 1
    points = []
    for row in selection.rows:
        name = Cell.of(row).name + (f" ({row['model']})" if several else "")
        size, time_ms = row["peak_bytes"] / MEBIBYTE, 1000 * row["step_time_s"]
        ends = canvas.spread(row, "step_time_s", 1000)
        points.append(Point(row["algorithm"], name, row["model"], time_ms, size, ends))
    names = {"xlabel": "time of one step (ms)", "ylabel": "peak memory (MiB)"}
    notes = canvas.notes_on(selection, "lines")
    return _drawn(title, points, notes, selection.missing, **names)


def taking_turns(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """Step bytes against step time as a ratio to bp's in each turn, of `experiments.bench`."""
    rows = results.turns(folder, cells)
    good = [row for row in rows if row["status"] == "ok"]
    points = []
    for row in good:
        name, size = Cell.of(row).name, row["step_bytes"] / MEBIBYTE
        ends = (row["ratio_first_quartile"], row["ratio_third_quartile"])
        points.append(Point(row["algorithm"], name, row["model"], row["ratio_to_bp"], size, ends))
    notes = [
        f"Medians of {row['rounds']} turns, lines over the middle half of the ratios. "
        f"Measured on {row['device']}, TensorFlow {row['tensorflow']}."
        for row in good[:1]
    ]
    failed = [Cell.of(row).name for row in rows if row["status"] != "ok"]
    notes += canvas.listed("Failed and left out", failed)
    nets = [f"{row['model']}, {row['layers']} layers, batch {row['batch_size']}" for row in good]
    names = {"xlabel": "time of one step / bp's in the same turn", "ylabel": "step memory (MiB)"}
    missing = [] if len(rows) == len(cells) else cells
    return _drawn(": ".join([title, *nets[:1]]), points, notes, missing, **names)


def front(points: Sequence[Point]) -> list[Point]:
    """Those that no other beats in time and memory, the fastest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.time, point.memory)):
        if not best or point.memory < best[-1].memory:
            best.append(point)
    return best


def _drawn(
    title: str, points: Sequence[Point], notes: list[str], missing: Sequence[Cell], **names: str
) -> Drawn:
    if not points:
        return Drawn(None, notes, missing)
    times, nets = [point.time for point in points], dict.fromkeys(point.net for point in points)
    # One slow step of many must not press all points together. Most names stand at the right.
    room = max(0.25 * (max(times) - min(times)), 0.1 * max(times))
    least, greatest = max(0.0, min(times) - 0.6 * room), max(times) + room
    notes = [
        f"Filled: the front{' of each net' if len(nets) > 1 else ''}, where nothing measured takes "
        "less memory without taking more time.",
        *notes,
    ]
    if any(p.time_range[0] < least or p.time_range[1] > greatest for p in points):
        notes.append("Lines that reach the edge go on.")
    with canvas.captioned(title, notes, size=(9.0, 5.4)) as figure:
        axes = figure.subplots()
        highest = 1.1 * max(point.memory for point in points)
        canvas.prepare(axes, xlim=(least, greatest), ylim=(0, highest), **names)
        axes.grid(color=QUIET, alpha=0.18, linewidth=0.6)
        for net in nets:
            _draw_net(axes, [point for point in points if point.net == net])
        ends = [labels.Label(p.time, p.memory, p.name, look_of(p.algorithm).colour) for p in points]
        labels.label_points(axes, ends, [point.time_range for point in points])
    return Drawn(figure, notes, missing)


def _draw_net(axes: Axes, points: Sequence[Point]) -> None:
    """The points, and the border of what is worse: from each of the front right, then down.

    What another net takes is no better and no worse.
    """
    best = front(points)
    times = [point.time for point in best] + [axes.get_xlim()[1]]
    heights = [point.memory for point in best] + [best[-1].memory]
    axes.plot(times, heights, drawstyle="steps-post", color=QUIET, alpha=0.5, linewidth=1.2,
              zorder=1, label="front")  # fmt: skip
    for point in points:
        look, level = look_of(point.algorithm), (point.memory, point.memory)
        axes.plot(point.time_range, level, color=look.colour, alpha=0.45, linewidth=1.0)
        axes.plot(
            [point.time], [point.memory], look.marker, markersize=7, label=point.name, zorder=3,
            markeredgecolor=look.colour, markerfacecolor=look.colour if point in best else "white",
        )  # fmt: skip
