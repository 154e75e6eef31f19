"""What the user sees: notes, progress and tables."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from mem_dfa.experiments.cells.cell import Cell
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from mem_dfa.units import MEBIBYTE

Row = Mapping[str, Any]
NAMES = ("algorithm", "model", "layers", "batch_size", "execution", "device")
_ALL = ("peak", "resident", "step", "min-max", "predicted", "step time", "saved vs bp")
_RARE = ("dataset", "optimizer", "learning_rate", "seed")  # shown where rows differ in them
_FEW = ("peak", "step", "step time", "saved vs bp", "accuracy")
NARROWEST = 160  # columns; where the output is no terminal, a table is not squeezed


def mebibytes(count: float | None) -> str:
    """Bytes as MiB with one decimal; "-" for what was not measured."""
    return "-" if count is None else f"{count / MEBIBYTE:.1f}"


def duration(seconds: float) -> str:
    """A length of time for reading: "45 s", "12 min", "3 h 20 min"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


class _Forgiving:
    """A stream that is written as far as that goes: what nobody can be shown ends nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def forgiving() -> Iterator[None]:
    """Lets the block go on where its output cannot be written, as to a closed pipe, a full disk."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream and _Forgiving(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in filter(None, before):
            try:
                stream.flush()
            except OSError:  # what is left is written again as Python ends, and would be its status
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def note(text: str) -> None:
    """Tells the user something, on standard error, where it does not mix with the table."""
    print(text, file=sys.stderr, flush=True)


def progress_columns() -> tuple[ProgressColumn, ...]:
    """A bar, the time and what is done, of which a narrow terminal cuts the end."""
    return (
        BarColumn(20, table_column=Column(width=20)),
        TimeElapsedColumn(table_column=Column(width=7)),
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True)),
    )


@contextlib.contextmanager
def progress(title: str, quiet: bool = False) -> Iterator[Callable[[str, float], None]]:
    """A bar for one task; the reporter it gives takes a note and the part done, 0 to 1.

    Where standard error is no terminal, one line says that the task began, unless ``quiet``, and
    each finished epoch gets a line.
    """
    console = Console(stderr=True)
    columns = progress_columns()
    if not console.is_terminal and not quiet:
        note(title)
    is_drawn = console.is_terminal
    with Progress(*columns, console=console, expand=True, disable=not is_drawn) as bar:
        task = bar.add_task(title, total=1.0)

        def report(text: str, done: float) -> None:
            bar.update(task, completed=done, description=f"{title}: {text}")
            if "accuracy" in text:
                bar.console.print(f"{title}: {text}", highlight=False)

        yield report
        bar.update(task, completed=1.0, description=title)


def table(
    title: str, words: Sequence[str], numbers: Sequence[str], lines: Iterable[Sequence[str]]
) -> Table:
    """A table whose columns of words are on the left and those of numbers on the right.

    Where there is little room, words take several lines; a number is never cut.
    """
    table = Table(title=title, title_justify="left", caption_justify="left")
    for name in words:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    return table


def words_of(row: Row, names: Sequence[str]) -> list[str]:
    """What a row says of these fields; layers that it does not name are all of a model."""
    return ["all" if row[name] is None else str(row[name]) for name in names]


def title_of(row: Row) -> str:
    """What a row is about, in a few words."""
    return Cell.of(row).title


def comparison(rows: Sequence[Row], wide: bool = False) -> Table:
    """Each row's memory and time, and how many times less it takes per step than bp.

    What all rows have in common stands in the title, so that the table fits 80 columns, unless it
    is to be ``wide``, with all that is known.
    """
    told = {"layers": "{} layers", "batch_size": "batch {}"}
    varying = {name for name in (*NAMES, *_RARE) if len({row[name] for row in rows}) > 1}
    shared = {n: rows[0][n] for n in NAMES[1:] if n not in varying and not wide}
    title = [told.get(n, "{}").format(value) for n, value in shared.items() if value is not None]
    names = [name for name in NAMES[1:] if name not in shared]
    names += [name for name in _RARE if name in varying]
    trained = any(row["epochs"] for row in rows)
    lines = []
    for row in rows:
        numbers = _numbers(row, rows, trained)
        shown = numbers if wide else {n: numbers[n] for n in _FEW if n in numbers}
        lines.append([Cell.of(row).name, *words_of(row, names), *shown.values()])
    found = table(
        f"{', '.join(title)}: MiB of one training step".removeprefix(": "),
        ["algorithm", *(name.removesuffix("_size") for name in names)],
        list(shown),
        lines,
    )
    if trained:
        found.caption = f"accuracy: {rows[-1]['accuracy_label']}"
    return found


def _numbers(row: Row, rows: Sequence[Row], trained: bool) -> dict[str, str]:
    numbers = dict.fromkeys(_ALL, "-")
    if row["step_bytes"] is None:
        numbers["peak"] = row["status"]
    else:
        # The step's bytes from shapes, and how far they are from what the operations asked for.
        predicted, requested = row["predicted_step_bytes"], row["step_requested_bytes"]
        if predicted and requested:
            error = f"{predicted / requested - 1:+.1%}"
            numbers["predicted"] = f"{mebibytes(predicted)} ({error})"
        for name in ("peak", "resident", "step"):
            numbers[name] = mebibytes(row[f"{name}_bytes"])
        spread = (mebibytes(row["step_bytes_min"]), mebibytes(row["step_bytes_max"]))
        numbers |= {"min-max": "-".join(spread), "saved vs bp": _factor(row, rows)}
        numbers["step time"] = f"{row['step_time_s'] * 1000:.1f} ms"
    if trained:
        accuracy = row["accuracy"] if row["epochs"] and row["status"] == "ok" else None
        numbers["accuracy"] = "-" if accuracy is None else f"{accuracy:.4f}"
    return numbers


def _factor(row: Row, rows: Sequence[Row]) -> str:
    """How many times the step bytes of the same cell under bp this row's would fill."""
    for other in rows:
        alike = all(other[name] == row[name] for name in NAMES[1:])
        if other["algorithm"] == "bp" and alike and other["step_bytes"] and row["step_bytes"]:
            return f"{other['step_bytes'] / row['step_bytes']:.2f}x"
    return "-"


def show(table: Table) -> None:
    """Prints a table to standard output, wider than a terminal where its numbers are."""
    console = Console()
    least = Measurement.get(console, console.options.update(max_width=1000), table).minimum
    console = Console(width=max(console.width, least if console.is_terminal else NARROWEST))
    console.print(table)
