"""The answers of `experiments.fit` as the user sees them."""

from collections.abc import Sequence

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store import fit_rows
from mem_dfa.experiments.store.schemas import Row
from mem_dfa.experiments.terminal import screen
from rich.table import Table

_NUMBERS = ("of bp's", "peak (MiB)", "ms per image", "processes", "one more")
_FIRST, _REPEATED = "algorithm", "processes"
_SAID = {"layers": "{} layers", "batch": "batch {}"}


def table(rows: Sequence[Row], over: str, memory_bytes: int) -> Table:
    """A line for each of these rows of `fit_rows.ANSWERS`, in which ``over`` was searched."""
    lines = [line(row, rows) for row in rows]
    words = [name for name in lines[0] if name not in _NUMBERS]
    # What all rows have in common stands in the title, so that the table fits 80 columns.
    shared = [n for n in words if len({one[n] for one in lines}) == 1 and n not in (over, _FIRST)]
    said = ", ".join(_SAID.get(name, "{}").format(lines[0][name]) for name in shared)
    noun = "batch" if over == "batch" else "depth"
    return screen.table(
        f"{said}: largest {noun} that trains in {memory_bytes // 2**20} MiB",
        [name for name in words if name not in shared],
        [name for name in _NUMBERS if name != _REPEATED],
        [[text for n, text in one.items() if n not in (*shared, _REPEATED)] for one in lines],
    )


def line(row: Row, rows: Sequence[Row]) -> dict[str, str]:
    """What is shown of an answer, one of ``rows``, by the heads of the columns."""
    said = screen.words_of({**row, "algorithm": Cell.of(row).name}, screen.NAMES)
    heads = [name.removesuffix("_size") for name in screen.NAMES]
    told = dict(zip(heads, said, strict=True))
    if row["size"] is None:
        told[row["over"]], numbers = "none", ["-", "-", "-", "-", row["status"]]
    else:
        time, more = f"{row['image_time_s'] * 1000:.2f}", row["next_status"]
        peak, repeats = screen.mebibytes(row["process_peak_bytes"]), str(row["repeats"])
        numbers = [_factor(row, rows), peak, time, repeats, more or "beyond maximum"]
    return {**told, **dict(zip(_NUMBERS, numbers, strict=True))}


def _factor(row: Row, rows: Sequence[Row]) -> str:
    """How many times as large as bp's with the same settings, where neither met a maximum."""
    free = ("algorithm", "options", fit_rows.OVER[row["over"]])
    of_bp = {
        (fit_rows.key_of(one, *free), one["over"]): one["size"]
        for one in rows
        if (one["algorithm"], one["status"]) == ("bp", "ok")
    }
    size = of_bp.get((fit_rows.key_of(row, *free), row["over"]))
    return f"{row['size'] / size:.2f}x" if size and row["status"] == "ok" else "-"
