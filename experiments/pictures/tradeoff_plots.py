"""Memory against time: what a step takes of both, and which choices nothing else beats."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.pictures import canvas, findings, labels
from mem_dfa.experiments.pictures.canvas import Drawn, look_of
from mem_dfa.experiments.pictures.findings import Cost
from mem_dfa.experiments.store import results
from mem_dfa.profiling.render.palette import QUIET

from mem_dfa.units import MEBIBYTE

_FRONTS = {"exact gradients": "-", "other gradients": (0, (4, 2))}
"""How the fronts of what has such gradients are drawn."""


@dataclass(frozen=True)
class Point:
    """One algorithm with its options: MiB against the median of times, the ends of its line."""

    algorithm: str
    own_name: str
    net: str
    time: float
    memory: float
    time_range: tuple[float, float]
    has_net: bool = False  # whether its name says it

    @property
    def name(self) -> str:
        """What stands beside it."""
        return f"{self.own_name} ({self.net})" if self.has_net else self.own_name


def pareto(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """Peak bytes against step time, a point for each algorithm and option."""
    selection = results.select(results.read(folder), cells)
    several = len({row["model"] for row in selection.rows}) > 1
    points = []
    for row in selection.rows:
        name, time_ms = Cell.of(row).name, 1000 * row["step_time_s"]
        size = row["peak_bytes"] / MEBIBYTE
        ends = canvas.spread(row, "step_time_s", 1000)
        points.append(Point(row["algorithm"], name, row["model"], time_ms, size, ends, several))
    names = {"xlabel": "time of one step (ms)", "ylabel": "allocated peak memory (MiB)"}
    notes = canvas.notes_on(selection, "lines")
    return _drawn(title, "peak memory", points, notes, selection.missing, **names)


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
    across, up = "time of one step / bp's in the same turn", "allocated step memory (MiB)"
    missing = [] if len(rows) == len(cells) else cells
    title = ": ".join([title, *nets[:1]])
    return _drawn(title, "step memory", points, notes, missing, xlabel=across, ylabel=up)


def front(points: Sequence[Point]) -> list[Point]:
    """Those that no other beats in time and memory, the fastest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.time, point.memory)):
        if not best or point.memory < best[-1].memory:
            best.append(point)
    return best


def _drawn(
    title: str,
    what: str,
    points: Sequence[Point],
    notes: list[str],
    missing: Sequence[Cell],
    **names: str,
) -> Drawn:
    if not points:
        return Drawn(None, notes, missing)
    times, nets = [point.time for point in points], dict.fromkeys(point.net for point in points)
    # One slow step of many must not press all points together. Most names stand at the right.
    room = max(0.25 * (max(times) - min(times)), 0.1 * max(times))
    least, greatest = max(0.0, min(times) - 0.6 * room), max(times) + room
    notes = [
        f"Filled: a front{' of each net' if len(nets) > 1 else ''}, where nothing measured with "
        "such gradients takes less memory without taking more time. Other gradients train to "
        "other accuracies, which are not shown here.",
        *notes,
    ]
    if any(p.time_range[0] < least or p.time_range[1] > greatest for p in points):
        notes.append("Lines that reach the edge go on.")
    finding = _finding(points, what)
    with canvas.captioned(title, notes, (9.0, 5.4), finding) as figure:
        axes = figure.subplots()
        highest = 1.1 * max(point.memory for point in points)
        canvas.prepare(axes, xlim=(least, greatest), ylim=(0, highest), **names)
        axes.grid(color=QUIET, alpha=0.18, linewidth=0.6)
        for net in nets:
            for kind in _FRONTS:
                of = [p for p in points if (p.net, findings.family(p.algorithm)) == (net, kind)]
                _draw_front(axes, of, kind)
        ends = [labels.Label(p.time, p.memory, p.name, look_of(p.algorithm).colour) for p in points]
        _explain_fronts(figure, points)
        labels.label_points(axes, ends, [point.time_range for point in points])
    return Drawn(figure, notes, missing, finding=finding)


def _finding(points: Sequence[Point], what: str) -> str:
    """What takes least memory of each net, and how many times as long as bp."""
    said = []
    for net in dict.fromkeys(point.net for point in points):
        own = [point for point in points if point.net == net]
        base = next((point.time for point in own if point.own_name == "bp"), None)
        if base:
            costs = [
                Cost(p.algorithm, p.own_name, p.memory, f"at {p.time / base:.2f} times the time")
                for p in own
            ]
            if text := findings.savings(costs, what):
                said.append(f"On {net} {text}" if own[0].has_net else text)
    return ". ".join(said)


def _draw_front(axes: Axes, points: Sequence[Point], kind: str) -> None:
    """The points, and the border of what is worse: from each of the front right, then down.

    What another net takes is no better and no worse, and so is what trains by another gradient.
    """
    if not points:
        return
    best = front(points)
    times = [point.time for point in best] + [axes.get_xlim()[1]]
    heights = [point.memory for point in best] + [best[-1].memory]
    axes.plot(times, heights, drawstyle="steps-post", zorder=1, label=kind, **_look_of_front(kind))
    for point in points:
        look, level = look_of(point.algorithm), (point.memory, point.memory)
        axes.plot(point.time_range, level, color=look.colour, alpha=0.45, linewidth=1.0)
        axes.plot(
            [point.time], [point.memory], look.marker, markersize=7, label=point.name, zorder=3,
            markeredgecolor=look.colour, markerfacecolor=look.colour if point in best else "white",
        )  # fmt: skip


def _look_of_front(kind: str) -> dict[str, Any]:
    return {"color": QUIET, "alpha": 0.6, "linewidth": 1.2, "linestyle": _FRONTS[kind]}


def _explain_fronts(figure: Figure, points: Sequence[Point]) -> None:
    """Below the panel, where it covers nothing."""
    kinds = {findings.family(point.algorithm) for point in points}
    handles = [
        Line2D([], [], label=f"front of {kind}", **_look_of_front(kind))
        for kind in _FRONTS
        if kind in kinds
    ]
    how: dict[str, Any] = {"frameon": False, "fontsize": 8, "handlelength": 3}
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), **how)
