"""Claims, and what becomes of them: a quantity of some cells is at most a limit, or it is not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mem_dfa.experiments.cells.cell import REPEATS, Cell
from rich.table import Table

PASS, FAIL = "holds", "does not hold"
Finding = dict[str, Any]


class NotMeasuredError(Exception):
    """What a claim is about failed, so that the claim does not hold."""


class Known(Protocol):
    """What was measured, or is measured when it is asked for."""

    def numbers(self, cells: Sequence[Cell], what: str, repeats: int = REPEATS) -> list[Any]:
        """What a column of measurements says of each cell, of so many processes.

        Raises:
            NotMeasuredError: it says nothing of one.
        """


@dataclass(frozen=True)
class Quantity:
    """Something to measure of the cells of a claim."""

    unit: str
    of: Callable[[Any, "Claim"], float]
    """The number, of what is `Known` and of the claim."""


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
    return [list(findings[0]), *map(_line, findings)]


def _line(finding: Finding) -> list[str]:
    numbers = (finding[name] for name in ("limit", "measured", "reference"))
    texts = ["-" if number is None else f"{number:.2f}" for number in numbers]
    return [finding["claim"], finding["unit"], *texts, finding["verdict"]]


def table(findings: Sequence[Finding], title: str) -> Table:
    """Findings for a terminal."""
    heads, *rows = lines(findings)
    found = Table(*heads, title=title)
    for row in rows:
        found.add_row(*row)
    return found
