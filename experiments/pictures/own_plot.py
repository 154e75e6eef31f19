"""One panel of any column against any other, a line for each value of a third."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator
from mem_dfa.experiments.cells.cell import COLUMNS, Cell
from mem_dfa.experiments.pictures import canvas, labels
from mem_dfa.experiments.store.schemas import Row

from mem_dfa.units import MEBIBYTE

_LOGARITHMIC = 30  # times as much as the least
_TICKS = 12
_LOOKS = list(canvas.LOOKS)


def lines_of(rows: Sequence[Row], x: str, by: str) -> tuple[list[str], dict[Any, list[Row]]]:
    """The columns in which rows differ beside these two, and the rows of each line.

    A line is of one value of ``by`` and of each of those columns.
    """
    differing = [n for n in COLUMNS if len({row[n] for row in rows}) > 1 and n not in (x, by)]
    if by == "algorithm" and "options" in differing:
        differing.remove("options")
    lines: dict[Any, list[Row]] = {}
    for row in sorted(rows, key=lambda row: _place(row[x])):
        name = Cell.of(row).name if by == "algorithm" else row[by]
        lines.setdefault((name, *(row[n] for n in differing)), []).append(row)
    return differing, lines


def draw(rows: Sequence[Row], x: str, y: str, by: str) -> Figure:
    """Draws rows that have both columns; what all of them have in common stands below."""
    differing, lines = lines_of(rows, x, by)
    places = sorted({row[x] for row in rows}, key=_place)
    is_number = all(isinstance(place, (int, float)) for place in places)
    scale, unit = _unit(y)
    with canvas.captioned(
        f"{_said(y)} against {_said(x)}".capitalize(), _notes(rows, x, by), (8, 5)
    ) as figure:
        axes = figure.subplots()
        ends = []
        for number, (key, line) in enumerate(lines.items()):
            own = line[0]["algorithm"] if by == "algorithm" else _LOOKS[number % len(_LOOKS)]
            known = [pair for pair in zip(differing, key[1:], strict=True) if pair[1] is not None]
            told = [f"{name.replace('_', ' ')} {value}" for name, value in known]
            at = [row[x] if is_number else places.index(row[x]) for row in line]
            points = [(place, row[y] * scale) for place, row in zip(at, line, strict=True)]
            ends.append(canvas.draw_line(axes, own, ", ".join([str(key[0]), *told]), points))
        height = _shape([row[y] for row in rows])
        width = _shape(places) if is_number else "linear"
        axes.set(xscale=width, yscale=height)
        xlabel, ylabel = _said(x), f"{_said(y)}{unit}"
        canvas.prepare(
            axes,
            xlabel=canvas.logarithmic(xlabel) if width == "log" else xlabel,
            ylabel=canvas.logarithmic(ylabel) if height == "log" else ylabel,
        )
        if height == "log":
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if width == "log" or not is_number or len(places) <= _TICKS:
            axes.set_xticks(places if is_number else range(len(places)), list(map(str, places)))
        axes.minorticks_off()
        labels.label_ends(axes, ends)
    return figure


def _place(value: Any) -> tuple[bool, Any]:
    """Sorts numbers as numbers and words as words."""
    return (False, value) if isinstance(value, (int, float)) else (True, str(value))


def _shape(values: Sequence[Any]) -> str:
    numbers = [value for value in values if isinstance(value, (int, float))]
    wide = numbers and min(numbers) > 0 and max(numbers) > _LOGARITHMIC * min(numbers)
    return "log" if wide else "linear"


def _unit(name: str) -> tuple[float, str]:
    if "_bytes" in name:
        return 1 / MEBIBYTE, " (MiB)"
    return (1000, " (ms)") if name.endswith("_s") else (1, "")


def _said(name: str) -> str:
    return name.replace("_bytes", "").removesuffix("_s").replace("_", " ")


def _notes(rows: Sequence[Row], x: str, by: str) -> list[str]:
    """What all rows have in common, and what measured them."""
    told = {n: {row[n] for row in rows} for n in COLUMNS if n not in (x, by)}
    shared = {n: values.pop() for n, values in told.items() if len(values) == 1}
    one = [f"{n.replace('_', ' ')} {v}" for n, v in shared.items() if v is not None]
    versions = sorted({f"TensorFlow {row['tensorflow']}" for row in rows})
    return [f"{', '.join(one)}.", f"{len(rows)} rows, measured with {' and '.join(versions)}."]
