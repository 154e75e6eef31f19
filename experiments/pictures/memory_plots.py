"""Memory against something that cells differ in: their layers, or their batch size."""

import functools
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.pictures import canvas, labels
from mem_dfa.experiments.pictures.canvas import Drawn
from mem_dfa.experiments.store import results
from mem_dfa.experiments.store.results import Selection
from mem_dfa.experiments.store.table import Row
from mem_dfa.profiling.render.palette import QUIET

from mem_dfa.units import MEBIBYTE

_PANELS = {
    "peak_bytes": "a  peak: weights, feedback, batch and step",
    "step_requested_bytes": "b  step: what its operations ask for",
}
_UNITS_NOTE = (
    "Peaks are what the allocator handed out, in chunks; steps are what operations asked it for."
)
_EXECUTIONS: dict[str, dict[str, Any]] = {
    "graph": {"linestyle": "-", "marker": "o"},
    "eager": {"linestyle": (0, (1, 1.4)), "marker": "s"},
    "xla": {"linestyle": (0, (5, 2)), "marker": "^"},
}
"""How lines differ where several executions are drawn."""


def _against(
    folder: str,
    title: str,
    cells: Sequence[Cell],
    column: str,
    heading: str,
    is_logarithmic: bool = True,
    size: tuple[float, float] = (11.0, 4.4),
) -> Drawn:
    """Peak and step against a column, a line for each algorithm and execution."""
    selection = results.select(results.read(folder), cells)
    given = {row["algorithm"]: row["options"] for row in selection.rows if row["options"]}
    notes = [_UNITS_NOTE, *(f"{name}: {options}." for name, options in given.items())]
    notes += canvas.notes_on(selection)
    if not selection.rows:
        return Drawn(None, notes, selection.missing)
    with canvas.captioned(title, notes, size) as figure:
        panels = figure.subplots(1, 2)
        for axes, (name, panel) in zip(panels, _PANELS.items(), strict=True):
            canvas.prepare(axes, panel, xlabel=heading, ylabel="memory (MiB)")
            _scale(axes, selection.rows, column, name, is_logarithmic)
            _draw_lines(axes, selection, column, name)
        executions = {row["execution"] for row in selection.rows}
        if len(executions) > 1:
            grey: dict[str, Any] = {"color": QUIET, "markersize": 3.5}
            shown = [(name, look) for name, look in _EXECUTIONS.items() if name in executions]
            handles = [Line2D([], [], label=name, **grey | look) for name, look in shown]
            how = {"loc": "upper left", "frameon": False, "fontsize": 8, "handlelength": 3}
            panels[0].legend(handles=handles, **how)
    return Drawn(figure, notes, selection.missing)


against_layers = functools.partial(
    _against, column="layers", heading="weight layers before the classifier", is_logarithmic=False
)
against_batch_size = functools.partial(_against, column="batch_size", heading="images in a batch")
against_depth = functools.partial(_against, column="layers", heading="layers", size=(14.4, 5.6))


def _scale(axes: Axes, rows: Sequence[Row], column: str, name: str, is_logarithmic: bool) -> None:
    """Where logarithmic, then both ways: what grows in proportion is a straight line."""
    values = sorted({row[column] for row in rows})
    known = [row for row in rows if row[name]]
    least = min((row[name] for row in known), default=MEBIBYTE) / MEBIBYTE
    greatest = max((canvas.spread(row, name, 1 / MEBIBYTE)[1] for row in known), default=1.0)
    if not is_logarithmic:
        axes.set(xlim=(values[0] - 0.3, values[-1] + 0.3), ylim=(0, 1.06 * greatest))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return
    axes.set(xscale="log", yscale="log", xlim=(values[0] / 1.1, values[-1] * 1.1))
    axes.set_ylim(least / 1.2, 1.06 * greatest)
    axes.set_xticks(values, [str(value) for value in values])
    ticks = (1, 2, 5) if greatest > 100 * least else (1, 1.5, 2, 3, 5, 7)
    axes.yaxis.set_major_locator(LogLocator(subs=ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()


def _draw_lines(axes: Axes, selection: Selection, column: str, name: str) -> None:
    lines: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(selection.rows, key=lambda row: row[column]):
        if row[name]:  # not every device tells requests
            lines.setdefault((row["algorithm"], row["execution"]), []).append(row)
    several = len({row["execution"] for row in selection.rows}) > 1
    ends = []
    for (algorithm, execution), line in lines.items():
        text = f"{algorithm}, {execution}" if several else algorithm
        text += _ended(selection, line[-1], column)
        points = [(row[column], row[name] / MEBIBYTE) for row in line]
        ranges = [canvas.spread(row, name, 1 / MEBIBYTE) for row in line]
        how = {"clip_on": False} | (_EXECUTIONS[execution] if several else {})
        ends.append(canvas.draw_line(axes, algorithm, text, points, ranges, **how))
    labels.label_ends(axes, ends)


def _ended(selection: Selection, last: Row, column: str) -> str:
    """Why a line ends before others do."""
    names = ("algorithm", "execution")
    failed = [row for row in selection.failed if all(row[name] == last[name] for name in names)]
    beyond = [row for row in failed if row[column] > last[column]]
    first = sorted(beyond, key=lambda row: row[column])[:1]
    return "".join(f" ({row[column]}: {row['status'].replace('_', ' ')})" for row in first)
