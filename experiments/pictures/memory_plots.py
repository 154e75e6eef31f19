"""Memory against something that cells differ in: their layers, or their batch size."""

from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.pictures import canvas, labels
from mem_dfa.experiments.pictures.canvas import Drawn
from mem_dfa.experiments.pictures.colours import look_of
from mem_dfa.experiments.store import measured, results
from mem_dfa.experiments.store.table import Row
from mem_dfa.profiling.render import plot
from mem_dfa.profiling.render.palette import INK, QUIET

from mem_dfa.units import MEBIBYTE

_SIZE = (11.0, 4.4)  # inches
_PANELS = {
    "peak_bytes": "a  peak: weights, feedback, batch and step",
    "step_requested_bytes": "b  step: what its operations ask for",
}
_UNITS_NOTE = (
    "Peaks are what the allocator handed out, in chunks; steps are what operations asked it for."
)
Prepare = Callable[[Axes, Sequence[float]], None]


def against_layers(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """Peak and step against the number of layers, a line for each algorithm.

    The peak is what the allocator hands out, and has its odd chunks; the step is what was asked of
    it, which is the algorithm's own.
    """
    heading = "weight layers before the classifier"
    return _against("layers", heading, _linear, folder, title, cells)


def against_batch_size(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """Peak and step against the batch size, a line for each algorithm; see `against_layers`."""
    return _against("batch_size", "images in a batch", _logarithmic, folder, title, cells)


def _against(
    column: str, heading: str, prepare: Prepare, folder: str, title: str, cells: Sequence[Cell]
) -> Drawn:
    selection = measured.select(results.read(folder), cells)
    notes = [_UNITS_NOTE, *canvas.notes_on(selection)]
    if not selection.rows:
        return Drawn(None, notes, selection.missing)
    lines: dict[str, list[Row]] = {}
    for row in selection.rows:
        lines.setdefault(Cell.of(row).name, []).append(row)
    for line in lines.values():
        line.sort(key=lambda row: row[column])
    with matplotlib.rc_context(plot.STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        panels = figure.subplots(1, 2)
        for axes, (size, name) in zip(panels, _PANELS.items(), strict=True):
            told = [row for row in selection.rows if row[size]]  # not every device tells requests
            highest = max((row.get(f"{size}_max") or row[size] for row in told), default=MEBIBYTE)
            axes.set_ylim(0, 1.06 * highest / MEBIBYTE)
            prepare(axes, sorted({row[column] for row in selection.rows}))
            axes.set(xlabel=heading, ylabel="memory (MiB)")
            axes.set_title(name, loc="left", fontsize=10, fontweight="bold", color=INK)
            axes.grid(axis="y", color=QUIET, alpha=0.18, linewidth=0.6)
            known = {name: [row for row in line if row[size]] for name, line in lines.items()}
            known = {name: line for name, line in known.items() if line}
            for line in known.values():
                _line(axes, line, column, size)
            _name_lines(axes, known, column, size)
        figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=12, color=INK)
        canvas.add_caption(figure, notes)
    return Drawn(figure, notes, selection.missing)


def _linear(axes: Axes, values: Sequence[float]) -> None:
    axes.set_xlim(values[0] - 0.3, values[-1] + 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _logarithmic(axes: Axes, values: Sequence[float]) -> None:
    """Both ways, so that what grows in proportion is a straight line of one slope."""
    axes.set(xscale="log", yscale="log", xlim=(values[0] / 1.1, values[-1] * 1.1))
    axes.set_xticks(values, [str(value) for value in values])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()


def _line(axes: Axes, line: Sequence[Row], column: str, size: str) -> None:
    look = look_of(line[0]["algorithm"])
    places = [row[column] for row in line]
    heights = [row[size] / MEBIBYTE for row in line]
    axes.plot(
        places,
        heights,
        color=look.colour,
        marker=look.marker,
        markersize=look.width + 2.4,
        linewidth=look.width,
        label=Cell.of(line[0]).name,
        zorder=5 - look.width / 2,  # the narrow ones above
        clip_on=False,
    )
    least, greatest = (
        [(row.get(f"{size}_{end}") or row[size]) / MEBIBYTE for row in line]
        for end in ("min", "max")
    )
    axes.fill_between(places, least, greatest, color=look.colour, alpha=0.2, linewidth=0, zorder=1)


def _name_lines(axes: Axes, lines: dict[str, list[Row]], column: str, size: str) -> None:
    if axes.get_yscale() == "log":
        least = min((row[size] for line in lines.values() for row in line), default=MEBIBYTE)
        axes.set_ylim(least / MEBIBYTE / 1.2, None)
    ends = [
        labels.Label(
            line[-1][column],
            line[-1][size] / MEBIBYTE,
            name,
            look_of(line[-1]["algorithm"]).colour,
        )
        for name, line in lines.items()
    ]
    labels.label_ends(axes, ends, 0.74 * _SIZE[1])
