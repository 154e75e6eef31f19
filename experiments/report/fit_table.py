"""The answers of `experiments.fit` as the user sees them."""

from collections.abc import Sequence

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.experiments.store import fit_rows
from mem_dfa.experiments.store.table import Row
from mem_dfa.experiments.terminal import screen
from rich.table import Table


def table(rows: Sequence[Row], over: str, limits: Limits) -> Table:
    """One line for each answer.

    Args:
        rows: of `fit_rows.ANSWERS`.
        over: a key of `fit_rows.OVER`, what was searched.
        limits: of each process.
    """
    noun = "batch" if over == "batch" else "depth"
    shown = Table(title=f"Largest {noun} that trains in {limits.memory_bytes // 2**20} MiB")
    told = [line(row, rows) for row in rows]
    names = list(told[0])
    for number, name in enumerate(names):
        is_number = name == over or number > names.index("device")
        shown.add_column(name, justify="right" if is_number else "left", no_wrap=True)
    for one in told:
        shown.add_row(*one.values())
    return shown


def line(row: Row, rows: Sequence[Row]) -> dict[str, str]:
    """What is shown of an answer, one of ``rows``, by the heads of the columns."""
    names = dict.fromkeys(("algorithm", "model", "layers", "batch_size", "execution", "device"))
    told = {name: "all" if row[name] is None else str(row[name]) for name in names}
    told["algorithm"] = Cell.of(row).name
    numbers = dict.fromkeys(("of bp's", "peak (MiB)", "ms per image", "processes"), "-")
    if row["size"] is None:
        told[fit_rows.OVER[row["over"]]] = "none"
        more = row["status"]
    else:
        numbers["of bp's"] = _factor(row, rows)
        numbers["peak (MiB)"] = screen.mebibytes(row["process_peak_bytes"])
        numbers["ms per image"] = f"{row['image_time_s'] * 1000:.2f}"
        numbers["processes"] = str(row["repeats"])
        more = row["next_status"] or "is beyond the maximum"
    shown = {("batch" if name == "batch_size" else name): text for name, text in told.items()}
    return {**shown, **numbers, "one more": more}


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
