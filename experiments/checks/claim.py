"""A promise about cells, and what is known of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mem_dfa.experiments.cells.cell import REPEATS, Cell


@dataclass(frozen=True)
class Claim:
    """A promise: the quantity of these cells is at most the limit."""

    title: str
    quantity: str
    """Its name in `finding.QUANTITIES`, and what it takes: "step_bytes", "growth 0.5"."""
    cells: Sequence[Cell]
    limit: float | str
    """In the quantity's unit; where it is measured itself, another quantity."""
    reference: float | None = None
    """What other code reached."""
    repeats: int = REPEATS
    """How many processes measure each cell."""


class NotMeasuredError(Exception):
    """What a claim is about failed, so that the claim does not hold."""


@dataclass(frozen=True)
class Known:
    """What is known of cells, or is measured when it is asked for."""

    row: Callable[[Cell, int], Mapping[str, Any]]
    """The measurement of a cell, of so many processes."""
    result: Callable[[str, tuple[Cell, ...]], dict[str, Any]] = lambda task, cells: {"status": "-"}
    """What another task of measuring processes says of cells."""

    def column(self, name: str, cells: Sequence[Cell], repeats: int = REPEATS) -> list[Any]:
        """What the rows of cells say; raises NotMeasuredError where one says nothing."""
        values = [row.get(name) for row in [self.row(cell, repeats) for cell in cells]]
        if None in values:
            raise NotMeasuredError
        return values

    def found(self, task: str, cells: Sequence[Cell]) -> dict[str, Any]:
        """The result of a task; raises NotMeasuredError where it failed."""
        result = self.result(task, tuple(cells))
        if result["status"] != "ok":
            raise NotMeasuredError
        return result
