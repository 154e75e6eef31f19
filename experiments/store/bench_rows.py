"""The table of `experiments.bench`: cells whose steps were timed in turns."""

import os
from collections.abc import Sequence

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store import measured
from mem_dfa.experiments.store.results import CELL_KINDS
from mem_dfa.experiments.store.table import Row, Schema, Table
from mem_dfa.experiments.store.values import Kind

TIMES = ("median_s", "min_s", "max_s", "ratio_to_bp", "ratio_min", "ratio_max")
TIMES += ("ratio_first_quartile", "ratio_third_quartile")
BYTES = ("step_bytes", "step_bytes_min", "step_bytes_max", "step_requested_bytes")
BYTES += ("resident_bytes",)
_REST: dict[str, Kind] = {
    **{"repeats": "count", "tensorflow": "name", "keras": "name", "timestamp": "name"},
    **{"status": "name", "error": "text"},
}
BENCH = Schema(
    "tables/bench.csv",
    "table of experiments.bench",
    {
        **{name: kind for name, kind in CELL_KINDS.items() if name not in ("epochs", "steps")},
        **dict.fromkeys(TIMES, "number"),
        "rounds": "whole",
        **dict.fromkeys(BYTES, "whole"),
        **_REST,
    },
    always=("algorithm", "model", "layers", "batch_size", "device", "status", "rounds"),
    if_good=("step_bytes", "tensorflow", *TIMES),
)


def key_of(cell: Cell) -> str:
    """What a row is about."""
    return cell.key("epochs", "steps", *measured.FREE)


def newest(out: str | os.PathLike[str], cells: Sequence[Cell]) -> list[Row]:
    """The newest row of each of these cells, in their order; those without one are left out.

    Raises:
        ResultsError: what is there is no such table, or damaged.
    """
    known = {key_of(Cell.of(row)): row for row in Table(out, BENCH).read()}
    return [known[key_of(cell)] for cell in cells if key_of(cell) in known]
