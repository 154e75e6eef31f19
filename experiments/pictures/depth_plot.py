"""The picture of memory against depth: a colour for each algorithm, a line style an execution."""

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from mem_dfa.experiments.cells.catalogue import EXECUTIONS
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.pictures import canvas, labels
from mem_dfa.experiments.pictures.canvas import Drawn
from mem_dfa.experiments.pictures.colours import Look, look_of
from mem_dfa.experiments.store import measured, results
from mem_dfa.experiments.store.table import Row
from mem_dfa.profiling.render import plot
from mem_dfa.profiling.render.palette import INK, QUIET

from mem_dfa.units import MEBIBYTE

_STYLES = dict(zip(EXECUTIONS, ("-", (0, (1, 1.4)), (0, (5, 2))), strict=True))
_MARKERS = dict(zip(EXECUTIONS, ("o", "s", "^"), strict=True))
_SIZE = (14.4, 5.6)  # inches
_PANELS = {
    "step_requested_bytes": "a  step: what its operations ask for",
    "peak_bytes": "b  peak: with weights, batch and all else that stays",
}


def against_depth(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """Requested step bytes and peak against depth, a line for each algorithm and execution."""
    selection = measured.select(results.read(folder), cells)
    given = {row["algorithm"]: row["options"] for row in selection.rows if row["options"]}
    notes = [f"{name}: {options}." for name, options in given.items()]
    notes += canvas.notes_on(selection)
    if not selection.rows:
        return Drawn(None, notes, selection.missing)
    known = [row for row in selection.rows if row["step_requested_bytes"]]
    if not known:
        problem = "no row says what its step asked for"
        return Drawn(None, notes, selection.missing, problem)
    picture = figure([*selection.rows, *selection.failed], known)
    canvas.add_caption(picture, notes)
    return Drawn(picture, notes, selection.missing)


def figure(rows: Sequence[Row], known: Sequence[Row]) -> Figure:
    """Bytes of the known rows against depth, all on logarithmic scales."""
    with matplotlib.rc_context(plot.STYLE):
        picture = Figure(figsize=_SIZE, layout="constrained")
        models = " and ".join(sorted({row["model"] for row in known}))
        picture.suptitle(f"{models}, batch {known[0]['batch_size']}", x=0.01, ha="left",
                         fontsize=12, color=INK)  # fmt: skip
        for axes, (column, title) in zip(picture.subplots(1, 2), _PANELS.items(), strict=True):
            axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
            _draw_panel(axes, rows, known, column)
        _explain(picture.axes[0], known)
    return picture


def _draw_panel(axes: Axes, rows: Sequence[Row], known: Sequence[Row], column: str) -> None:
    _prepare(axes, known, column)
    points = []
    for algorithm in dict.fromkeys(row["algorithm"] for row in known):
        look = look_of(algorithm)
        for execution in EXECUTIONS:
            line = _series(known, algorithm, execution)
            if line:
                _plot(axes, line, look, column)
                text = f"{algorithm}, {execution}{_limited(rows, line[-1])}"
                size = line[-1][column] / MEBIBYTE
                points.append(labels.Label(line[-1]["layers"], size, text, look.colour))
    labels.label_ends(axes, points, 0.75 * _SIZE[1])


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


def _prepare(axes: Axes, known: Sequence[Row], column: str) -> None:
    depths = sorted({row["layers"] for row in known})
    values = [row[column] / MEBIBYTE for row in known]
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(depths[0] / 1.15, depths[-1] * 1.15),
        ylim=(min(values) / 1.3, max(values) * 1.3),
        xlabel="layers",
        ylabel="memory (MiB)",
    )
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.grid(axis="y", color=QUIET, alpha=0.18, linewidth=0.6)


def _plot(axes: Axes, line: Sequence[Row], look: Look, column: str) -> None:
    execution = line[0]["execution"]
    axes.plot(
        [row["layers"] for row in line],
        [row[column] / MEBIBYTE for row in line],
        color=look.colour,
        linestyle=_STYLES[execution],
        marker=_MARKERS[execution],
        markersize=look.width + 2,
        linewidth=look.width,
        zorder=5 - look.width / 2,  # the narrow ones above
        clip_on=False,
    )


def _explain(axes: Axes, known: Sequence[Row]) -> None:
    handles = [
        Line2D([], [], color=QUIET, linestyle=_STYLES[name], marker=_MARKERS[name], markersize=3.5,
               label=name)
        for name in EXECUTIONS
        if any(row["execution"] == name for row in known)
    ]  # fmt: skip
    axes.legend(handles=handles, loc="upper left", frameon=False, fontsize=8, handlelength=3)
