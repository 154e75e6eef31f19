"""Claims, and what becomes of them: a quantity of some cells is at most a limit, or it is not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mem_dfa.experiments.cells.cell import REPEATS, Cell
from rich.table import Table

PASS, FAIL = "holds", "does not hold"
Finding = dict[str, Any]


class NotMeasuredError(Exception):
    """What a claim is about failed, so that the claim does not hold."""


@dataclass(frozen=True)
class Known:
    """What is known of cells, or is measured when it is asked for."""

    row: Callable[[Cell, int], Mapping[str, Any]]
    """The measurement of a cell, of so many processes."""
    result: Callable[[str, tuple[Cell, ...]], dict[str, Any]] = lambda task, cells: {"status": "-"}
    """What another task of measuring processes says of cells."""

    def numbers(self, cells: Sequence[Cell], what: str, repeats: int = REPEATS) -> list[Any]:
        """A column of the cells' rows; raises NotMeasuredError where one says nothing."""
        numbers = [row.get(what) for row in [self.row(cell, repeats) for cell in cells]]
        if None in numbers:
            raise NotMeasuredError
        return numbers

    def found(self, task: str, cells: Sequence[Cell]) -> dict[str, Any]:
        """The result of a task; raises NotMeasuredError where it failed."""
        result = self.result(task, tuple(cells))
        if result["status"] != "ok":
            raise NotMeasuredError
        return result


@dataclass(frozen=True)
class Quantity:
    """Something to measure of the cells of a claim."""

    unit: str
    of: Callable[[Known, "Claim"], float]


@dataclass(frozen=True)
class Claim:
    """A promise: the quantity of these cells is at most the limit."""

    title: str
    quantity: Quantity
    cells: Sequence[Cell]
    limit: float | Quantity
    """In the quantity's unit; where it is measured itself, of the same cells."""
    reference: float | None = None
    """What other code reached."""
    repeats: int = REPEATS
    """How many processes measure each cell."""


def judge(claim: Claim, known: Known) -> Finding:
    """A claim beside what was measured; what could not be measured does not hold."""

    def value(of: float | Quantity) -> float | None:
        try:
            return of.of(known, claim) if isinstance(of, Quantity) else of
        except NotMeasuredError:
            return None

    limit, measured = value(claim.limit), value(claim.quantity)
    holds = limit is not None and measured is not None and measured <= limit
    return {
        "claim": claim.title,
        "unit": claim.quantity.unit,
        "limit": limit,
        "measured": measured,
        "reference": claim.reference,
        "verdict": PASS if holds else FAIL,
    }


def hold(findings: Sequence[Finding]) -> bool:
    """Whether all do."""
    return all(finding["verdict"] == PASS for finding in findings)


def lines(findings: Sequence[Finding]) -> list[list[str]]:
    """The lines of a table, its heads first."""

    def text(value: str | float | None) -> str:
        return "-" if value is None else value if isinstance(value, str) else f"{value:.2f}"

    return [list(findings[0]), *([*map(text, finding.values())] for finding in findings)]


def table(findings: Sequence[Finding], title: str) -> Table:
    """Findings for a terminal."""
    heads, *rows = lines(findings)
    found = Table(*heads, title=title)
    for row in rows:
        found.add_row(*row)
    return found
