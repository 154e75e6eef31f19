"""The table of `experiments.bench`: cells whose steps were timed in turns."""

import os
from collections.abc import Sequence

from mem_dfa.experiments.cells.cell import COLUMNS, Cell
from mem_dfa.experiments.store import measured
from mem_dfa.experiments.store.table import Row, Schema, Table, words

TIMES = words("median_s min_s max_s ratio_to_bp ratio_min ratio_max")
TIMES += words("ratio_first_quartile ratio_third_quartile")
BENCH = Schema(
    "tables/bench.csv",
    "table of experiments.bench",
    (
        *(name for name in COLUMNS if name not in ("epochs", "steps")),
        *(*TIMES, *words("rounds step_bytes step_bytes_min step_bytes_max step_requested_bytes")),
        *words("resident_bytes repeats tensorflow keras timestamp status error"),
    ),
    words("algorithm model layers batch_size device status rounds"),
    ("step_bytes", "tensorflow", *TIMES),
)


def newest(out: str | os.PathLike[str], cells: Sequence[Cell]) -> list[Row]:
    """The newest row of each of these cells, in their order; those without one are left out."""
    free = ("epochs", "steps", *measured.FREE)
    known = {Cell.of(row).key(*free): row for row in Table(out, BENCH).read()}
    return [known[cell.key(*free)] for cell in cells if cell.key(*free) in known]
