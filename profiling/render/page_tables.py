"""The tables of the page: what is alive at a peak, and how two peaks differ."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mem_dfa.profiling.render.curves import NANOSECONDS
from mem_dfa.profiling.timeline.data import TimelineData

from mem_dfa.units import MEBIBYTE

_LONG = 48  # characters of a path, beyond which its middle is left out
_COUNTER = re.compile(r"_\d+$")


@dataclass(frozen=True, slots=True)
class Cell:
    """What a table shows in one place.

    Attributes:
        text: what is read.
        value: what it is sorted by, where it is a number.
        whole: what the text leaves out: exact bytes, the whole path.
        path: below the text, where an operation is.
    """

    text: str
    value: float | None = None
    whole: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table to search and to sort.

    Attributes:
        heads: a title for each column.
        numbers: the titles of those with numbers.
        sorted_by: the title of the one that it is sorted by, greatest first.
        rows: for each the text that is searched, in lower case, and its cells.
    """

    heads: tuple[str, ...]
    numbers: tuple[str, ...]
    sorted_by: str
    rows: list[tuple[str, list[Cell]]]


def peak_table(timeline: TimelineData) -> Table:
    """What is alive at the peak, largest first."""
    rows = [
        (
            f"{row.layer} {row.block}".lower(),
            [
                _operation(row.op, is_variable=row.start_ns < 0),
                Cell(row.layer),
                size(row.allocated_bytes),
                *(Cell(text) for text in (row.block, row.phase, row.category)),
                *(Cell(text) for text in (row.shape, row.dtype)),
                _moment(row.start_ns, "before" if row.start_ns < 0 else ""),
                _moment(row.end_ns, "after" if row.end_ns > timeline.duration_ns else ""),
            ],
        )
        for row in timeline.live_at_peak().itertuples(index=False)
    ]
    numbers = ("MiB", "from (ms)", "to (ms)")
    names = ("block", "phase", "category", "shape", "dtype")
    return Table(("operation", "layer", "MiB", *names, *numbers[1:]), numbers, "MiB", rows)


def difference_table(first: TimelineData, other: TimelineData, names: tuple[str, str]) -> Table:
    """What is alive at the two peaks by layer and category, greatest change first.

    Args:
        first: what is compared with; see `Timeline.diff`.
        other: what is compared.
        names: what they are called in the heads of their columns.
    """
    numbers = (f"MiB, {names[0]}", f"MiB, {names[1]}", "difference (MiB)")
    rows = [
        (
            row.layer.lower(),
            [
                *(Cell(text) for text in (row.layer, row.category)),
                *(size(count) for count in (row.bytes, row.other_bytes, row.difference_bytes)),
            ],
        )
        for row in first.diff(other).reset_index().itertuples(index=False)
    ]
    return Table(("layer", "category", *numbers), numbers, "", rows)


def size(count: int) -> Cell:
    """Bytes in MiB with two decimals, and exact."""
    text = f"{count / MEBIBYTE:,.2f}"
    if count and not float(text.replace(",", "")):
        text = "< 0.01" if count > 0 else "> -0.01"
    return Cell(text, count, f"{count:,} B")


def _moment(time_ns: int, outside: str) -> Cell:
    """A time, or on which side of the recording it lies."""
    return Cell(outside or f"{time_ns / NANOSECONDS:.3f}", time_ns)


def _operation(path: str, *, is_variable: bool) -> Cell:
    """The kind of an operation, or the name of a variable, and below it where that is."""
    parts = path.split("/")
    # TensorFlow counts operations of one kind; in the name of a variable a number tells which.
    kind = parts[-1] if is_variable else _COUNTER.sub("", parts[-1])
    is_long = len(path) > _LONG and len(parts) > 4
    shown = "/".join([parts[0], "…", *parts[-3:]]) if is_long else path
    return Cell(kind or "–", whole=path, path=shown if len(parts) > 1 else "")
