"""Memory against something that cells differ in: their layers, or their batch size."""

import functools
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from mem_dfa.experiments.cells.catalogue import EXECUTIONS
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.pictures import canvas, findings, labels
from mem_dfa.experiments.pictures.canvas import Drawn
from mem_dfa.experiments.store import results
from mem_dfa.experiments.store.results import Selection
from mem_dfa.experiments.store.table import Row

from mem_dfa.units import MEBIBYTE

_ROOM = 1.15  # beyond the least and the greatest of what a logarithmic axis shows
Lines = Mapping[str, Sequence[Row]]
"""Rows by algorithm, rising in what they are drawn against."""


class _Bytes:
    """What is drawn of rows, in MiB: all that is held while a step runs, or what it adds to that.

    A step's bytes are what its operations asked for: the allocator's chunks have spikes. Where a
    device does not tell that of every row, they are what was handed out.
    """

    def __init__(self, rows: Sequence[Row], is_all: bool) -> None:
        known = all(row["step_requested_bytes"] for row in rows)
        self.column = "step_requested_bytes" if known else "step_bytes"
        self.name = "requested" if known else "allocated"
        self.is_all = is_all

    def of(self, row: Row) -> float:
        return self._beside(row) + row[self.column] / MEBIBYTE

    def range_of(self, row: Row) -> tuple[float, float]:
        least, most = canvas.spread(row, self.column, 1 / MEBIBYTE)
        return self._beside(row) + least, self._beside(row) + most

    def _beside(self, row: Row) -> float:
        return (row["peak_bytes"] - row["step_bytes"]) / MEBIBYTE if self.is_all else 0.0

    def note(self) -> str:
        asked = "its operations ask for, without the allocator's rounding"
        handed = "the allocator hands out, in chunks"
        return f"A step's memory is what {asked if self.name == 'requested' else handed}."


def _against(
    folder: str, title: str, cells: Sequence[Cell], column: str, heading: str, is_logarithmic: bool
) -> Drawn:
    """All memory and that of the step against a column, a line for each algorithm."""
    selection = results.select(results.read(folder), cells)
    rows, missing = selection.rows, selection.missing
    if not rows:
        return Drawn(None, canvas.notes_on(selection), missing)
    lines = _lines(rows, column)
    every, step = _Bytes(rows, is_all=True), _Bytes(rows, is_all=False)
    notes = _notes(selection, step)
    if column == "layers":
        finding = findings.growth(_points(lines, column, step), "step")
    else:
        greatest = max(row[column] for row in rows)
        ends = {name: step.of(line[-1]) for name, line in lines.items()}
        ends = {name: end for name, end in ends.items() if lines[name][-1][column] == greatest}
        said = findings.least(ends, "step")
        finding = f"At batches of {greatest} {said[0].lower()}{said[1:]}" if said else ""
    with canvas.captioned(title, notes, finding=finding) as figure:
        panels = figure.subplots(1, 2)
        names = ("a  resident (weights, feedback, batch) and step", "b  step alone")
        for axes, panel, shown in zip(panels, names, (every, step), strict=True):
            _prepare(axes, panel, heading, shown, is_logarithmic)
            _scale(axes, rows, column, shown, is_logarithmic)
            _draw_lines(axes, lines, selection.failed, column, shown)
    return Drawn(figure, notes, missing, finding=finding)


against_layers = functools.partial(
    _against, column="layers", heading="weight layers before the classifier", is_logarithmic=False
)
against_batch_size = functools.partial(
    _against, column="batch_size", heading="images in a batch", is_logarithmic=True
)


def against_depth(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """The step's memory against layers, a panel for each execution, on the same axes."""
    selection = results.select(results.read(folder), cells)
    rows, missing = selection.rows, selection.missing
    if not rows:
        return Drawn(None, canvas.notes_on(selection), missing)
    step = _Bytes(rows, is_all=False)
    notes = _notes(selection, step)
    executions = [name for name in EXECUTIONS if any(row["execution"] == name for row in rows)]
    of = {name: [row for row in rows if row["execution"] == name] for name in executions}
    finding = findings.growth(_points(_lines(of[executions[0]], "layers"), "layers", step), "step")
    if finding and len(executions) > 1:
        finding += f", in {executions[0]} execution"
    with canvas.captioned(title, notes, (14.4, 5.2), finding) as figure:
        panels = figure.subplots(1, len(executions), sharex=True, sharey=True, squeeze=False)[0]
        for number, (axes, execution) in enumerate(zip(panels, executions, strict=True)):
            _prepare(axes, f"{'abc'[number]}  {execution}", "layers", step, is_logarithmic=True)
            _scale(axes, rows, "layers", step, is_logarithmic=True)
            failed = [row for row in selection.failed if row["execution"] == execution]
            _draw_lines(axes, _lines(of[execution], "layers"), failed, "layers", step)
            axes.set_ylabel(axes.get_ylabel() if axes is panels[0] else "")
    return Drawn(figure, notes, missing, finding=finding)


def _lines(rows: Sequence[Row], column: str) -> Lines:
    lines: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row[column]):
        lines.setdefault(row["algorithm"], []).append(row)
    return lines


def _points(lines: Lines, column: str, shown: _Bytes) -> dict[str, list[tuple[float, float]]]:
    return {name: [(row[column], shown.of(row)) for row in line] for name, line in lines.items()}


def _notes(selection: Selection, step: _Bytes) -> list[str]:
    given = {row["algorithm"]: row["options"] for row in selection.rows if row["options"]}
    options = [f"{name}: {text}." for name, text in given.items()]
    return [step.note(), *options, *canvas.notes_on(selection)]


def _prepare(axes: Axes, panel: str, heading: str, shown: _Bytes, is_logarithmic: bool) -> None:
    names = [heading, f"{shown.name} memory (MiB)"]
    across, up = map(canvas.logarithmic, names) if is_logarithmic else names
    canvas.prepare(axes, panel, xlabel=across, ylabel=up)


def _scale(
    axes: Axes, rows: Sequence[Row], column: str, shown: _Bytes, is_logarithmic: bool
) -> None:
    """Where logarithmic, then both ways: what grows in proportion is a straight line."""
    values = sorted({row[column] for row in rows})
    least, greatest = min(map(shown.of, rows)), max(shown.range_of(row)[1] for row in rows)
    if not is_logarithmic:
        axes.set(xlim=(values[0] - 0.3, values[-1] + 0.3), ylim=(0, 1.06 * greatest))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return
    axes.set(xscale="log", yscale="log", xlim=(values[0] / 1.1, values[-1] * 1.1))
    axes.set_ylim(least / _ROOM, greatest * _ROOM)
    axes.set_xticks(values, [str(value) for value in values])
    ticks = (1, 2, 5) if greatest > 100 * least else (1, 1.5, 2, 3, 5, 7)
    axes.yaxis.set_major_locator(LogLocator(subs=ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()


def _draw_lines(
    axes: Axes, lines: Lines, failed: Sequence[Row], column: str, shown: _Bytes
) -> None:
    ends = []
    for algorithm, line in lines.items():
        text = algorithm + _ended(failed, line[-1], column)
        points = [(row[column], shown.of(row)) for row in line]
        ranges = [shown.range_of(row) for row in line]
        ends.append(canvas.draw_line(axes, algorithm, text, points, ranges, clip_on=False))
    labels.label_ends(axes, ends)


def _ended(failed: Sequence[Row], last: Row, column: str) -> str:
    """Why a line ends before others do."""
    own = [row for row in failed if row["algorithm"] == last["algorithm"]]
    beyond = [row for row in own if row[column] > last[column]]
    first = sorted(beyond, key=lambda row: row[column])[:1]
    return "".join(f" ({row[column]}: {row['status'].replace('_', ' ')})" for row in first)
