"""What the user sees: notes, progress and tables."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mem_dfa.units import MEBIBYTE

Row = Mapping[str, Any]
NAMES = ("algorithm", "model", "layers", "batch_size", "execution", "device")
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


@contextlib.contextmanager
def progress(title: str, quiet: bool = False) -> Iterator[Callable[[str, float], None]]:
    """A bar for one task; the reporter it gives takes a note and the part done, 0 to 1.

    Where standard error is no terminal, one line says that the task began, unless ``quiet``, and
    each finished epoch gets a line.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    if not console.is_terminal and not quiet:
        note(title)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
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
    """A table whose columns of words are on the left and those of numbers on the right."""
    table = Table(title=title)
    for name in (*words, *numbers):
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    return table


def words_of(row: Row, names: Sequence[str]) -> list[str]:
    """What a row says of these fields; layers that it does not name are all of a model."""
    return ["all" if row[name] is None else str(row[name]) for name in names]


def comparison(rows: Sequence[Row]) -> Table:
    """Each row's memory and time, and how many times less it takes per step than bp."""
    trained = any(row["epochs"] for row in rows)
    numbers = ("peak", "resident", "step", "min-max", "predicted", "step time", "saved vs bp")
    shown = table(
        "Memory of one training step (MiB)",
        [name.removesuffix("_size") for name in NAMES],
        [*numbers, "accuracy"] if trained else numbers,
        [[*words_of(row, NAMES), *_numbers(row, rows, trained)] for row in rows],
    )
    if trained:
        shown.caption = f"accuracy: {rows[-1]['accuracy_label']}"
    return shown


def _numbers(row: Row, rows: Sequence[Row], trained: bool) -> list[str]:
    accuracy = row["accuracy"] if row["epochs"] and row["status"] == "ok" else None
    accuracies = ["-" if accuracy is None else f"{accuracy:.4f}"] if trained else []
    if row["step_bytes"] is None:
        return [row["status"], "-", "-", "-", "-", "-", "-", *accuracies]
    # The step's bytes from shapes, and how far they are from what the operations asked for.
    predicted, requested, prediction = row["predicted_step_bytes"], row["step_requested_bytes"], "-"
    if predicted and requested:
        prediction = f"{mebibytes(predicted)} ({predicted / requested - 1:+.1%})"
    return [
        *(mebibytes(row[name]) for name in ("peak_bytes", "resident_bytes", "step_bytes")),
        f"{mebibytes(row['step_bytes_min'])}-{mebibytes(row['step_bytes_max'])}",
        prediction,
        f"{row['step_time_s'] * 1000:.1f} ms",
        _factor(row, rows),
        *accuracies,
    ]


def _factor(row: Row, rows: Sequence[Row]) -> str:
    """How many times the step bytes of the same cell under bp this row's would fill."""
    for other in rows:
        alike = all(other[name] == row[name] for name in NAMES[1:])
        if other["algorithm"] == "bp" and alike and other["step_bytes"] and row["step_bytes"]:
            return f"{other['step_bytes'] / row['step_bytes']:.2f}x"
    return "-"


def show(table: Table) -> None:
    """Prints a table to standard output."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, NARROWEST))
    console.print(table)
