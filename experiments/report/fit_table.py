"""The answers of `experiments.fit` as the user sees them."""

from collections.abc import Sequence

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.experiments.store import fit_rows
from mem_dfa.experiments.store.table import Row
from mem_dfa.experiments.terminal import screen
from rich.table import Table

HEADS = ("algorithm", "model", "layers", "batch", "execution", "device")
NUMBERS = ("of bp's", "peak (MiB)", "ms per image", "processes", "one more")


def table(rows: Sequence[Row], over: str, limits: Limits) -> Table:
    """One line for each answer.

    Args:
        rows: of `fit_rows.ANSWERS`.
        over: a key of `fit_rows.OVER`, what was searched.
        limits: of each process.
    """
    noun = "batch" if over == "batch" else "depth"
    shown = Table(title=f"Largest {noun} that trains in {limits.memory_bytes // 2**20} MiB")
    for head in HEADS:
        justify = "right" if head == over else "left"
        shown.add_column(head, justify=justify, no_wrap=True)
    for head in NUMBERS:
        shown.add_column(head, justify="right", no_wrap=True)
    for line in lines(rows):
        shown.add_row(*line)
    return shown


def lines(rows: Sequence[Row]) -> list[list[str]]:
    """The cells of each answer's line, under `HEADS` and `NUMBERS`."""
    shown = []
    for row in rows:
        names = ("algorithm", "model", "layers", "batch_size", "execution", "device")
        cells = {name: "all" if row[name] is None else str(row[name]) for name in names}
        cells["algorithm"] = Cell.of(row).name
        if row["size"] is None:
            cells[fit_rows.OVER[row["over"]]] = "none"
        shown.append([*cells.values(), *_numbers(row, rows)])
    return shown


def _numbers(row: Row, rows: Sequence[Row]) -> list[str]:
    if row["size"] is None:
        return ["-", "-", "-", "-", row["status"]]
    return [
        _factor(row, rows),
        screen.mebibytes(row["process_peak_bytes"]),
        f"{row['image_time_s'] * 1000:.2f}",
        str(row["repeats"]),
        row["next_status"] or "is beyond the maximum",
    ]


def _factor(row: Row, rows: Sequence[Row]) -> str:
    """How many times as large as bp's with the same settings, where neither met a maximum."""
    free = ("algorithm", "options", fit_rows.OVER[row["over"]])
    for other in rows:
        is_alike = other["over"] == row["over"] and (
            fit_rows.key_of(other, *free) == fit_rows.key_of(row, *free)
        )
        both = other["status"] == row["status"] == "ok"
        if other["algorithm"] == "bp" and is_alike and both:
            return f"{row['size'] / other['size']:.2f}x"
    return "-"
