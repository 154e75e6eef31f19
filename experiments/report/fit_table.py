"""The answers of `experiments.fit` as the user sees them."""

from collections.abc import Sequence

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.experiments.store import fit_rows
from mem_dfa.experiments.store.table import Row
from mem_dfa.experiments.terminal import screen
from rich.table import Table

_NUMBERS = ("of bp's", "peak (MiB)", "ms per image", "processes")


def table(rows: Sequence[Row], over: str, limits: Limits) -> Table:
    """A line for each of these rows of `fit_rows.ANSWERS`, in which ``over`` was searched."""
    noun = "batch" if over == "batch" else "depth"
    shown = Table(title=f"Largest {noun} that trains in {(limits.memory_bytes or 0) // 2**20} MiB")
    lines = [line(row, rows) for row in rows]
    names = list(lines[0])
    for number, name in enumerate(names):
        is_number = name == over or number > names.index("device")
        shown.add_column(name, justify="right" if is_number else "left", no_wrap=True)
    for one in lines:
        shown.add_row(*one.values())
    return shown


def line(row: Row, rows: Sequence[Row]) -> dict[str, str]:
    """What is shown of an answer, one of ``rows``, by the heads of the columns."""
    told = {"algorithm": Cell.of(row).name}
    for name in ("model", "layers", "batch_size", "execution", "device"):
        told[name.removesuffix("_size")] = "all" if row[name] is None else str(row[name])
    if row["size"] is None:
        told[row["over"]] = "none"
        return {**told, **dict.fromkeys(_NUMBERS, "-"), "one more": row["status"]}
    numbers = (
        _factor(row, rows),
        screen.mebibytes(row["process_peak_bytes"]),
        f"{row['image_time_s'] * 1000:.2f}",
        str(row["repeats"]),
    )
    more = row["next_status"] or "is beyond the maximum"
    return {**told, **dict(zip(_NUMBERS, numbers, strict=True)), "one more": more}


def _factor(row: Row, rows: Sequence[Row]) -> str:
    """How many times as large as bp's with the same settings, where neither met a maximum."""
    free = ("algorithm", "options", fit_rows.OVER[row["over"]])
    for other in rows:
        told = (other["algorithm"], other["over"], other["status"], row["status"])
        if told == ("bp", row["over"], "ok", "ok") and (
            fit_rows.key_of(other, *free) == fit_rows.key_of(row, *free)
        ):
            return f"{row['size'] / other['size']:.2f}x"
    return "-"
