"""What each algorithm takes of memory and of time for the accuracy that it reaches on one net."""

import collections
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from mem_dfa.experiments.cells.cell import REPEATS, Cell
from mem_dfa.experiments.pictures import canvas, findings, labels
from mem_dfa.experiments.pictures.canvas import Drawn, look_of
from mem_dfa.experiments.pictures.findings import Cost
from mem_dfa.experiments.store import results, trainings
from mem_dfa.experiments.store.table import Row
from mem_dfa.profiling.render.palette import QUIET

from mem_dfa.units import MEBIBYTE


@dataclass(frozen=True)
class Span:
    """A median, and the least and the greatest beside it."""

    middle: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Span":
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def memory_accuracy_time(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """Test accuracy against memory and against a step's time over bp's, a point per algorithm.

    Accuracies and memory are of the same trainings. Times are of cells without epochs, which were
    measured by themselves.
    """
    rows = results.read(folder)
    asked = [cell for cell in cells if cell.epochs]
    read = {cell: epochs for cell in asked if (epochs := trainings.read(folder, cell))}
    sizes = results.select(rows, list(read))
    steps = results.select(rows, [cell for cell in cells if not cell.epochs], REPEATS)
    missing = [*(cell for cell in asked if cell not in read), *sizes.missing, *steps.missing]
    memory = _memory([row for row in sizes.rows if row["step_requested_bytes"]])
    accuracy = {name: span for name, span in _accuracy(read).items() if name in memory}
    if not accuracy:
        return Drawn(None, missing=missing)
    pace = {name: span for name, span in _pace(steps.rows).items() if name in accuracy}
    images = results.images(rows, asked[0].dataset)
    seeds = collections.Counter(cell.algorithm for cell in read)
    notes = [
        f"After {asked[0].epochs} epochs on {images}, no augmentation. Medians of "
        f"{_counted(max(seeds.values()))} where no name says otherwise, lines from the least to "
        "the greatest.",
        "Memory: resident, and what a step's operations ask for, without the allocator's rounding. "
        f"Time: of steps by themselves, medians of {REPEATS} processes.",
        *canvas.listed(
            "Not trained yet",
            list(dict.fromkeys(cell.algorithm for cell in asked if cell.algorithm not in seeds)),
        ),
        *canvas.listed("Not timed yet", [name for name in accuracy if name not in pace]),
        *canvas.notes_on(sizes)[1:],
    ]
    finding = _finding(memory, accuracy)
    with canvas.captioned(title, notes, (11.0, 4.8), finding) as figure:
        by_memory, by_time = figure.subplots(1, 2, sharey=True)
        held, reached = "resident, and requested by a step (MiB)", f"test accuracy (%), {images}"
        canvas.prepare(by_memory, "a  memory", xlabel=held, ylabel=reached)
        canvas.prepare(by_time, "b  time", xlabel="time of a step / bp's")
        _draw(by_memory, memory, accuracy, seeds)
        _draw(by_time, pace, accuracy, seeds)
    return Drawn(figure, notes, missing, finding=finding)


def _finding(memory: Mapping[str, Span], accuracy: Mapping[str, Span]) -> str:
    """What takes least memory, and the accuracy that it reaches."""
    costs = [
        Cost(name, name, memory[name].middle, f"for {span.middle:.1f} % accuracy")
        for name, span in accuracy.items()
    ]
    said = findings.savings(costs, "memory")
    return f"{said}; bp reaches {accuracy['bp'].middle:.1f} %" if said else ""


def _pace(rows: Sequence[Row]) -> dict[str, Span]:
    """A step's time over bp's, with its spread, by algorithm; nothing where bp has none."""
    base = next((row["step_time_s"] for row in rows if row["algorithm"] == "bp"), None)
    return {
        row["algorithm"]: Span(
            row["step_time_s"] / base, *canvas.spread(row, "step_time_s", 1 / base)
        )
        for row in rows
        if base
    }


def _memory(rows: Sequence[Row]) -> dict[str, Span]:
    """MiB of what is resident and of what a step asks for, over the seeds, by algorithm."""
    found: dict[str, list[float]] = {}
    for row in rows:
        size = (row["peak_bytes"] - row["step_bytes"] + row["step_requested_bytes"]) / MEBIBYTE
        found.setdefault(row["algorithm"], []).append(size)
    return {name: Span.of(sizes) for name, sizes in found.items()}


def _accuracy(read: Mapping[Cell, trainings.Epochs]) -> dict[str, Span]:
    """Test accuracy in % after the last epoch, over the seeds, by algorithm."""
    found: dict[str, list[float]] = {}
    for cell, epochs in read.items():
        found.setdefault(cell.algorithm, []).append(100 * epochs[-1]["test_accuracy"])
    return {name: Span.of(shares) for name, shares in found.items()}


def _counted(seeds: int) -> str:
    return "1 seed" if seeds == 1 else f"{seeds} seeds"


def _draw(
    axes: Axes, across: Mapping[str, Span], up: Mapping[str, Span], seeds: Mapping[str, int]
) -> None:
    """A cross of the ranges and the point of the medians, with its name.

    Which says how many seeds there are where others have more.
    """
    axes.grid(color=QUIET, alpha=0.18, linewidth=0.6)
    points, levels, heights, most = [], [], [], max(seeds.values())
    for name in (name for name in up if name in across):
        x, y, look = across[name], up[name], look_of(name)
        line: dict[str, Any] = {"color": look.colour, "alpha": 0.5, "linewidth": 1.4, "zorder": 2}
        axes.plot((x.least, x.greatest), (y.middle, y.middle), **line)
        axes.plot((x.middle, x.middle), (y.least, y.greatest), **line)
        axes.plot(
            [x.middle], [y.middle], look.marker, color=look.colour, markersize=8, label=name,
            zorder=3,
        )  # fmt: skip
        text = name if seeds[name] == most else f"{name}, {_counted(seeds[name])}"
        points.append(labels.Label(x.middle, y.middle, text, look.colour))
        levels.append((x.least, x.greatest))
        heights.append((y.least, y.greatest))
    axes.margins(x=0.22, y=0.12)
    axes.set_xlim(left=0)
    labels.label_points(axes, points, levels, heights)
