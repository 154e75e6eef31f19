"""What stands for the processes of a sweep, and for what they give."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mem_dfa.experiments import sweep
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.engine import processes
from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.experiments.store import results

SMALL = ["--algo", "bp,dfa", "--model", "mlp", "--layers", "1,2", "--dataset", "synthetic"]
FOUR = [("bp", 1), ("dfa", 1), ("bp", 2), ("dfa", 2)]
TENSORFLOW = "2.21.0"


def cells(*words: str) -> list[Cell]:
    return arguments.cells(sweep.parser().parse_args([*SMALL, *words]))


def good(cell: Cell, repeats: int = 3, **changes: Any) -> dict[str, Any]:
    """What measuring a cell gives."""
    sizes = {"peak_bytes": 2**21, "resident_bytes": 2**20, "step_bytes": 2**20}
    known = {"status": "ok", **sizes, "step_time_s": 0.01, "repeats": repeats}
    row = {**cell.row(), **known, "tensorflow": TENSORFLOW, **changes}
    return {column: row.get(column) for column in results.COLUMNS}


class Meter:
    """Stands for the processes that measure; keeps what they were asked for."""

    def __init__(self) -> None:
        self.measured: list[tuple[str, int | None]] = []
        self.acts: dict[int, Callable[[Cell], dict[str, Any]]] = {}
        """What happens instead, by how many were measured before."""
        self.epochs: list[dict[str, Any]] = []
        self.version = TENSORFLOW

    def survey(self, cells: list[Cell], report: processes.Report) -> processes.Survey:
        return processes.Survey("CPU:0", self.version)

    def measure(
        self, cell: Cell, report: processes.Report, repeats: int, limits: Limits
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        self.measured.append((cell.algorithm, cell.layers))
        act = self.acts.pop(len(self.measured) - 1, None)
        row = act(cell) if act else good(cell, repeats, tensorflow=self.version)
        return row, self.epochs


def read(folder: Path) -> list[dict[str, Any]]:
    return results.read(folder)


def fail(cell: Cell) -> dict[str, Any]:
    return good(cell, status="out_of_memory", error="too much", repeats=None, tensorflow=None)


def interrupt(cell: Cell) -> dict[str, Any]:
    raise KeyboardInterrupt
