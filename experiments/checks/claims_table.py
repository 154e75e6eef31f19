"""What this project promises: the rows of claims.csv, in parts that can be measured alone.

A row says which quantity (see `finding`) of which cells (see `cells.cells_of`) is at most the
limit, and how many processes measure a cell where that is not as usual. References are what other
codes took on the same nets: for random feedback the original code, on one machine; MemCNN for
RevNet, `tf.recompute_grad` for checkpointing, first sketches for microbatches and whatever is held
to constant memory.
"""

import csv
from collections.abc import Callable
from pathlib import Path

from mem_dfa.experiments.cells.cell import REPEATS, Cell
from mem_dfa.experiments.checks.cells import cells_of
from mem_dfa.experiments.checks.claim import Claim

with Path(__file__).with_name("claims.csv").open(newline="", encoding="utf-8") as _file:
    _ROWS = list(csv.DictReader(_file))
GATE = "gate"
PARTS = tuple(dict.fromkeys(row["part"] for row in _ROWS if row["part"] != GATE))
"""What `experiments.claims` measures; the gate's is of what the gate measures anyway."""


def claims(part: str, make: Callable[..., Cell]) -> list[Claim]:
    """The claims of a part, about cells that `make` makes as `cells.make_cell`."""
    return [
        Claim(
            row["claim"],
            row["quantity"],
            cells_of(row["cells"], make),
            _number(row["limit"]),
            _number(row["reference"]) if row["reference"] else None,
            int(row["repeats"] or REPEATS),
        )
        for row in _ROWS
        if row["part"] == part
    ]


def _number(text: str) -> float | str:
    """A whole number stays one in tables; a name is another quantity's."""
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return text
