"""A claim beside what was measured, and the cells that claims are about."""

import math
from collections.abc import Sequence
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import arguments
from rich.table import Table

from mem_dfa.units import MEBIBYTE

PASS, FAIL = "holds", "does not hold"
Finding = dict[str, Any]


def make_finding(
    title: str,
    unit: str,
    limit: float,
    measured: float | None,
    original: float | None = None,
) -> Finding:
    """A claim that holds where something was measured and is not above the limit."""
    holds = measured is not None and measured <= limit
    return {
        "claim": title,
        "unit": unit,
        "limit": limit,
        "measured": measured,
        "reference": original,
        "verdict": PASS if holds else FAIL,
    }


def mebibytes(size: int | None) -> float | None:
    """Of bytes, or of nothing where something failed."""
    return None if size is None else size / MEBIBYTE


def distance_of_growth(sizes: Sequence[int], exponent: float) -> float:
    """How far the exponent by which sizes at three doubled depths grow is from another."""
    low, middle, high = sizes
    if not low < middle < high:
        return math.inf
    # Of c + a·nᵉ at doubled depths the increments have the ratio 2ᵉ.
    return abs(math.log2((high - middle) / (middle - low)) - exponent)


def heads(findings: Sequence[Finding]) -> list[str]:
    """The heads of a table of findings."""
    return [name.replace("_", " ") for name in findings[0]]


def shown(finding: Finding) -> list[str]:
    """One line of it."""
    numbers = (finding[name] for name in ("limit", "measured", "reference"))
    texts = ["-" if number is None else f"{number:.2f}" for number in numbers]
    return [finding["claim"], finding["unit"], *texts, finding["verdict"]]


def table(findings: Sequence[Finding], title: str) -> Table:
    """Findings for a terminal."""
    found = Table(*heads(findings), title=title)
    for finding in findings:
        found.add_row(*shown(finding))
    return found


def make_cell(algorithm: str, model: str, layers: int | None, data_dir: str | None = None) -> Cell:
    """A cell on the CPU with every default of the command line."""
    parser = arguments.Parser()
    arguments.add_cell_options(parser)
    words = ["--algo", algorithm, "--model", model]
    words += [] if layers is None else ["--layers", str(layers)]
    words += [] if data_dir is None else ["--data-dir", data_dir]
    return arguments.cells(parser.parse([*words, "--device", "cpu"]))[0]
